"""From texts to sequences of tokens, as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateurs.errors import DataError, UsageError
from secateurs.huggingface.tasks import Task
from secateurs.huggingface.text.files import Texts
from secateurs.huggingface.text.sequences import (
    Blocks,
    Masking,
    Padded,
    Windows,
    causal_sample,
    seq2seq_sample,
    unlabelled_sample,
)

LONGEST = 1024
"""Tokens per sequence, unless more are asked for."""


@dataclass(frozen=True)
class Encoder:
    """Tokenises texts for one model.

    Attributes:
        tokenizer: one of the transformers library.
        task: what the model does.
        config: of the model, which tells how many tokens and classes there are; None where that is not known.
        wanted: tokens per sequence; None for the most that the model takes, at most 1024.
    """

    tokenizer: Any
    task: Task
    config: Any = None
    wanted: int | None = None

    def dataset(self, texts: Texts, overlap: bool = False) -> Dataset[Any]:
        """Sequences of tokens.

        Texts for a classifier, and pairs of texts for an encoder and decoder, stay each by itself, cut off at the
        length; other texts are joined, with the end-of-sequence token between them, and cut into sequences.

        Args:
            texts: without labels, a classifier takes each line as a text.
            overlap: for causal models: sequences overlap by half, and each token is to be predicted once.

        Raises:
            DataError: the texts are shorter than a sequence, a token or a label is none of the model's, or the
                tokenizer lacks a token that is needed.
            UsageError: the length is none that the model takes.
        """
        if self.task == "classification" or (self.task == "seq2seq" and texts.labels is not None):
            return self._padded(texts.lines())
        tokens = self._joined(texts)
        if self.task == "causal" and overlap:
            return Windows(tokens, self.length, self.length // 2)
        if self.task == "masked":
            return Blocks(tokens, self.length, Masking(self._special("mask")))
        form = {"causal": causal_sample, "seq2seq": seq2seq_sample, "features": unlabelled_sample}[self.task]
        return Blocks(tokens, self.length, form)

    @property
    def length(self) -> int:
        """Tokens per sequence.

        Raises:
            UsageError: the model takes fewer, or it is less than 2.
        """
        most = getattr(self.config, "max_position_embeddings", None)
        if self.wanted is None:
            return min(length for length in (most, self.tokenizer.model_max_length, LONGEST) if length)
        if self.wanted < 2 or (most and self.wanted > most):
            raise UsageError(f"sequences of {self.wanted} tokens: give 2 or more{f', at most {most}' if most else ''}")
        return self.wanted

    def _padded(self, texts: Texts) -> Padded:
        pad = self.tokenizer.pad_token_id
        pad = getattr(self.config, "pad_token_id", None) if pad is None else pad
        return Padded(
            self._each(texts.documents, texts.name),
            None if texts.labels is None else self._labels(texts.labels, texts.name),
            0 if pad is None else pad,
            self.tokenizer.padding_side,
        )

    def _labels(self, labels: Sequence[Any], name: str) -> list[Tensor]:
        if self.task == "seq2seq":
            return self._each([str(label) for label in labels], name)
        return [torch.tensor(self._class(label, f"{name}: text {number}")) for number, label in enumerate(labels, 1)]

    def _class(self, label: Any, where: str) -> int:
        numbers = getattr(self.config, "label2id", None) or {}
        classes = getattr(self.config, "num_labels", None)
        if isinstance(label, str):
            label = numbers.get(label, label)
        try:
            number = int(label)
        except (TypeError, ValueError):
            raise DataError(
                f"{where} has the label {label!r}, which is neither a number nor one of {', '.join(numbers) or 'none'}"
            ) from None
        if number != float(label) or number < 0 or (classes is not None and number >= classes):
            known = "of 0, 1, ..." if classes is None else f"of the model's, 0 to {classes - 1}"
            raise DataError(f"{where} has the label {label!r}, which is none {known}")
        return number

    def _each(self, documents: Sequence[str], name: str) -> list[Tensor]:
        sequences = self.tokenizer(list(documents), truncation=True, max_length=self.length)["input_ids"]
        for number, tokens in enumerate(sequences, 1):
            if not tokens:
                raise DataError(
                    f"{name}: the tokenizer finds no token in text {number}: {documents[number - 1][:60]!r}"
                )
        self._check(max(map(max, sequences)))
        return [torch.tensor(tokens) for tokens in sequences]

    def _joined(self, texts: Texts) -> Tensor:
        documents = [document for document in texts.documents if document.strip()]
        sequences = self.tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
        end = [self._special("eos", "sep")] if len(sequences) > 1 else []
        tokens = torch.tensor(
            [token for tokens in sequences for token in (*end, *tokens)][len(end) :], dtype=torch.long
        )
        if len(tokens) < self.length:
            raise DataError(
                f"{texts.name} has {len(tokens)} tokens, fewer than one sequence of {self.length}: give more text, or "
                "shorter sequences (--length)"
            )
        self._check(int(tokens.max()))
        return tokens

    def _special(self, *names: str) -> int:
        candidates = (getattr(self.tokenizer, f"{name}_token_id") for name in names)
        token = next((candidate for candidate in candidates if candidate is not None), None)
        if token is None:
            raise DataError(f"the tokenizer has no {names[0]} token, which is needed: set tokenizer.{names[0]}_token")
        return token

    def _check(self, largest: int) -> None:
        rows = None if self.config is None else getattr(self.config.get_text_config(), "vocab_size", None)
        if rows is not None and largest >= rows:
            raise DataError(
                f"the tokenizer does not fit the model: it gives token {largest} "
                f"({self.tokenizer.convert_ids_to_tokens(largest)!r}), and the model has {rows} (--tokenizer)"
            )
