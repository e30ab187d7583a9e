"""Sequences of tokens as data sets, and how they become batches: dicts of what a transformer is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Subset

from secateurs.errors import DataError

IGNORE_INDEX = -100
"""The label of a token that is not to be predicted."""

MASKED = 0.15
"""The share of tokens that a masked model predicts (Devlin et al. 2019)."""

Sample = dict[str, Tensor]


@dataclass(frozen=True)
class Blocks(Dataset[Sample]):
    """A long text cut into sequences of one length; what is left over at its end is not used.

    Attributes:
        tokens: the text [tokens].
        length: tokens per sequence.
        form: makes a sample of a sequence and its number.
    """

    tokens: Tensor
    length: int
    form: Callable[[Tensor, int], Sample]

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.form(self.tokens[index * self.length : (index + 1) * self.length], index)


def causal_sample(tokens: Tensor, _: int) -> Sample:
    """For a causal model: it predicts the tokens themselves, each from those before it."""
    return {"input_ids": tokens, "labels": tokens}


def seq2seq_sample(tokens: Tensor, _: int) -> Sample:
    """For an encoder and decoder: the second half is predicted from the first (Raffel et al. 2020, section 3.2.3)."""
    middle = len(tokens) // 2
    return {"input_ids": tokens[:middle], "labels": tokens[middle:]}


def unlabelled_sample(tokens: Tensor, _: int) -> Sample:
    """For a model that predicts nothing."""
    return {"input_ids": tokens}


@dataclass(frozen=True)
class Masking:
    """For a masked model: some tokens are hidden and predicted. Which, depends on the number of the sequence alone."""

    mask: int

    def __call__(self, tokens: Tensor, index: int) -> Sample:
        """A sample of a sequence and its number."""
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(index))
        hidden = order[: max(1, round(MASKED * len(tokens)))]
        return {
            "input_ids": tokens.index_fill(0, hidden, self.mask),
            "labels": torch.full_like(tokens, IGNORE_INDEX).index_copy(0, hidden, tokens[hidden]),
        }


class _Padded(Dataset[Sample]):
    """Sequences of several lengths, which are padded batch by batch."""

    pad = 0
    side = "right"

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """A batch [samples, longest length], with an `attention_mask` that is 0 where it is padded."""
        masked = [{**sample, "attention_mask": torch.ones_like(sample["input_ids"])} for sample in samples]
        return {name: self._together(name, [sample[name] for sample in masked]) for name in masked[0]}

    def _together(self, name: str, values: list[Tensor]) -> Tensor:
        if not values[0].ndim:
            return torch.stack(values)
        filler = {"input_ids": self.pad, "labels": IGNORE_INDEX}.get(name, 0)
        return pad_sequence(values, batch_first=True, padding_value=filler, padding_side=self.side)


@dataclass(frozen=True)
class Padded(_Padded):
    """Each text by itself.

    Attributes:
        inputs: the tokens of each.
        labels: a class, or the tokens of a second text, for each; if there are any.
        pad: the token that stands for none.
        side: of a text that is padded: "left" or "right".
    """

    inputs: Sequence[Tensor]
    labels: Sequence[Tensor] | None
    pad: int = 0
    side: str = "right"

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Sample:
        labels = {} if self.labels is None else {"labels": self.labels[index]}
        return {"input_ids": self.inputs[index], **labels}


@dataclass(frozen=True)
class Windows(_Padded):
    """A long text in sequences that overlap, for a causal model to predict each token but the first exactly once.

    Window k = 0, 1, ... holds the tokens kS to kS + L − 1 (of N, numbered from 0), up to the first that reaches the
    end of the text. The first window predicts all of its tokens but the first, any other its last S; these have
    L − S tokens or more before them. The labels of others are −100.

    Attributes:
        tokens: the text [N].
        length: L, tokens per sequence.
        stride: S, less than L.
    """

    tokens: Tensor
    length: int
    stride: int

    def __post_init__(self):
        if not 0 < self.stride < self.length:
            raise DataError(
                f"the stride lies between 1 and the length less 1, not at {self.stride} for a length of {self.length}"
            )
        if self.tokens.ndim != 1 or len(self.tokens) < 2 or self.tokens.is_floating_point():
            raise DataError(f"give the tokens of one text, two or more, not {self.tokens.dtype}{[*self.tokens.shape]}")

    def __len__(self) -> int:
        return 1 + -(-max(0, len(self.tokens) - self.length) // self.stride)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        tokens = self.tokens[index * self.stride :][: self.length]
        labels = tokens.clone()
        labels[: self.length - self.stride if index else 1] = IGNORE_INDEX
        return {"input_ids": tokens, "labels": labels}


def loader(dataset: Dataset[Any], batch_size: int, generator: torch.Generator | None = None) -> DataLoader[Any]:
    """Batches of a data set, padded where it has to be; shuffled where there is a generator."""
    whole: Any = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    collate = getattr(whole, "collate", None)
    return DataLoader(dataset, batch_size, generator is not None, generator=generator, collate_fn=collate)
