"""Data sets of token sequences. A sample or batch is a dict of keyword arguments of a transformers model."""

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
"""Label of a token that does not count in the loss."""

MASKED = 0.15
"""Fraction of the tokens that a masked model predicts (Devlin et al. 2019, arXiv 1810.04805)."""

Sample = dict[str, Tensor]


@dataclass(frozen=True)
class Blocks(Dataset[Sample]):
    """A long text cut into sequences of one length. Remaining tokens at the end are dropped.

    Attributes:
        tokens: the text, int64 [tokens].
        length: tokens per sequence.
        make_sample: a function of (sequence [length], number of the sequence) that returns a sample.
    """

    tokens: Tensor
    length: int
    make_sample: Callable[[Tensor, int], Sample]

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.make_sample(self.tokens[index * self.length : (index + 1) * self.length], index)


def causal_sample(tokens: Tensor, _: int) -> Sample:
    """Make a sample for a causal model: the labels are the tokens, and the model shifts them."""
    return {"input_ids": tokens, "labels": tokens}


def seq2seq_sample(tokens: Tensor, _: int) -> Sample:
    """Make a sample for an encoder–decoder model, which predicts the second half of the tokens from the first half.

    This is the prefix language modelling of Raffel et al. 2020 (arXiv 1910.10683, section 3.2.3).
    """
    middle = len(tokens) // 2
    return {"input_ids": tokens[:middle], "labels": tokens[middle:]}


def unlabelled_sample(tokens: Tensor, _: int) -> Sample:
    """Make a sample for a model that predicts no tokens: it has no labels."""
    return {"input_ids": tokens}


@dataclass(frozen=True)
class Masking:
    """Makes samples for a masked model. The number of a sequence determines which tokens are masked.

    Attributes:
        mask: number of the mask token.
    """

    mask: int

    def __call__(self, tokens: Tensor, index: int) -> Sample:
        """Make a sample of the sequence with number `index`. Only masked tokens have a label."""
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(index))
        hidden = order[: max(1, round(MASKED * len(tokens)))]
        return {
            "input_ids": tokens.index_fill(0, hidden, self.mask),
            "labels": torch.full_like(tokens, IGNORE_INDEX).index_copy(0, hidden, tokens[hidden]),
        }


class _PaddedDataset(Dataset[Sample]):
    """Base class of data sets whose sequences differ in length and are padded batch by batch."""

    pad = 0
    side = "right"

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Join samples to a batch [samples, longest length]. The `attention_mask` is 0 at padded positions."""
        masked = [{**sample, "attention_mask": torch.ones_like(sample["input_ids"])} for sample in samples]
        return {name: self._stack(name, [sample[name] for sample in masked]) for name in masked[0]}

    def _stack(self, name: str, values: list[Tensor]) -> Tensor:
        """Stack scalars [samples], or pad and stack sequences [samples, longest length]."""
        if not values[0].ndim:
            return torch.stack(values)
        filler = {"input_ids": self.pad, "labels": IGNORE_INDEX}.get(name, 0)
        return pad_sequence(values, batch_first=True, padding_value=filler, padding_side=self.side)


@dataclass(frozen=True)
class Padded(_PaddedDataset):
    """Separate texts, padded batch by batch.

    Attributes:
        inputs: tokens of each text, int64 [tokens].
        labels: class number [] (a scalar) or tokens of a second text [tokens], per text; None without labels.
        pad: number of the padding token.
        side: the side on which a text is padded, "left" or "right".
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
class Windows(_PaddedDataset):
    """A long text cut into overlapping windows. A causal model predicts each token except the first exactly once.

    Of N tokens numbered from 0, window k contains the tokens kS to kS + L − 1. The last window is the first that
    reaches the end of the text. Window 0 predicts all tokens but the first. Every other window predicts only the last
    S tokens, which have at least L − S tokens of context. All other labels are −100.

    Attributes:
        tokens: the text, int64 [N].
        length: L, tokens per window.
        stride: S, distance between the starts of two windows, less than L.

    Raises:
        DataError: the stride or the tokens are invalid.
    """

    tokens: Tensor
    length: int
    stride: int

    def __post_init__(self):
        if not 0 < self.stride < self.length:
            raise DataError(f"the stride must be at least 1 and less than the length {self.length}, not {self.stride}")
        if self.tokens.ndim != 1 or len(self.tokens) < 2 or self.tokens.is_floating_point():
            raise DataError(
                "the tokens must be an integer tensor of one dimension with at least 2 tokens, not "
                f"{self.tokens.dtype}{[*self.tokens.shape]}"
            )

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
    """Make a loader of batches. Sequences are padded if the data set, or the data set of a `Subset`, needs it.

    Args:
        dataset: a data set of samples.
        batch_size: samples per batch.
        generator: if given, the loader shuffles with it.
    """
    base: Any = dataset
    while isinstance(base, Subset):
        base = base.dataset
    collate = getattr(base, "collate", None)
    return DataLoader(dataset, batch_size, generator is not None, generator=generator, collate_fn=collate)
