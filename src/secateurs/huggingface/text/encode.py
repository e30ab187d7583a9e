"""Tokenisation: converts texts to sequences of tokens in the form that a model needs."""

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
"""Upper limit of the default length of a sequence, in tokens."""


@dataclass(frozen=True)
class Encoder:
    """Tokenises texts for one model.

    Attributes:
        tokenizer: a tokenizer of the transformers library.
        task: the task of the model.
        config: configuration of the model, with the number of tokens and classes; None if unknown.
        requested_length: tokens per sequence; None means the maximum of the model, at most 1024.
    """

    tokenizer: Any
    task: Task
    config: Any = None
    requested_length: int | None = None

    def dataset(self, texts: Texts, overlap: bool = False) -> Dataset[Any]:
        """Tokenise the texts into a data set of samples.

        Texts for a classifier and pairs of texts for an encoder–decoder stay separate and are truncated to the length.
        Other texts are joined with the end-of-sequence token and cut into sequences.

        Args:
            texts: the texts. Without labels, each line is one text for a classifier.
            overlap: for causal models: whether sequences overlap by half and each token is predicted once.

        Raises:
            DataError: there are fewer tokens than one sequence, a token or label is unknown to the model, or the
                tokenizer lacks a special token.
            UsageError: the model does not accept this length.
        """
        if self.task == "classification" or (self.task == "seq2seq" and texts.labels is not None):
            return self._padded(texts.lines())
        tokens = self._joined(texts)
        if self.task == "causal" and overlap:
            return Windows(tokens, self.length, self.length // 2)
        if self.task == "masked":
            return Blocks(tokens, self.length, Masking(self._special("mask")))
        make_sample = {"causal": causal_sample, "seq2seq": seq2seq_sample, "features": unlabelled_sample}[self.task]
        return Blocks(tokens, self.length, make_sample)

    @property
    def length(self) -> int:
        """Tokens per sequence.

        Raises:
            UsageError: the requested length is less than 2 or above the maximum of the model.
        """
        most = getattr(self.config, "max_position_embeddings", None)
        length = self.requested_length
        if length is None:
            return min(limit for limit in (most, self.tokenizer.model_max_length, LONGEST) if limit)
        if length < 2 or (most and length > most):
            limits = f"from 2 to {most}" if most else "at least 2"
            raise UsageError(f"sequences cannot have {length} tokens: the length must be {limits} (--length)")
        return length

    def _padded(self, texts: Texts) -> Padded:
        """Tokenise each text separately."""
        pad = self.tokenizer.pad_token_id
        pad = getattr(self.config, "pad_token_id", None) if pad is None else pad
        return Padded(
            self._tokenise_each(texts.documents, texts.name),
            None if texts.labels is None else self._labels(texts.labels, texts.name),
            0 if pad is None else pad,
            self.tokenizer.padding_side,
        )

    def _labels(self, labels: Sequence[Any], name: str) -> list[Tensor]:
        """Convert labels to tensors: tokens [tokens] for seq2seq, otherwise class numbers [] (scalars)."""
        if self.task == "seq2seq":
            return self._tokenise_each([str(label) for label in labels], name)
        return [
            torch.tensor(self._class_number(label, f"{name}: text {number}")) for number, label in enumerate(labels, 1)
        ]

    def _class_number(self, label: Any, where: str) -> int:
        """Convert a class name or number to a class number of the model."""
        numbers = getattr(self.config, "label2id", None) or {}
        classes = getattr(self.config, "num_labels", None)
        if isinstance(label, str):
            label = numbers.get(label, label)
        try:
            number = int(label)
        except (TypeError, ValueError):
            names = f"a class name of the model ({', '.join(numbers)})" if numbers else "a class name of the model"
            raise DataError(f"{where} has the label {label!r}, which is neither a number nor {names}") from None
        if number != float(label) or number < 0 or (classes is not None and number >= classes):
            valid = "0, 1, ..." if classes is None else f"0 to {classes - 1}"
            raise DataError(f"{where} has the label {label!r}; the model has the classes {valid}")
        return number

    def _tokenise_each(self, documents: Sequence[str], name: str) -> list[Tensor]:
        """Tokenise each text separately, truncated to the length: int64 [tokens] each."""
        sequences = self.tokenizer(list(documents), truncation=True, max_length=self.length)["input_ids"]
        for number, tokens in enumerate(sequences, 1):
            if not tokens:
                raise DataError(
                    f"{name}: the tokenizer returns no tokens for text {number}: {documents[number - 1][:60]!r}"
                )
        self._check_token(max(map(max, sequences)))
        return [torch.tensor(tokens) for tokens in sequences]

    def _joined(self, texts: Texts) -> Tensor:
        """Tokenise all texts and join them with the end-of-sequence token: int64 [tokens]."""
        documents = [document for document in texts.documents if document.strip()]
        sequences = self.tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
        end = [self._special("eos", "sep")] if len(sequences) > 1 else []
        tokens = torch.tensor(
            [token for tokens in sequences for token in (*end, *tokens)][len(end) :], dtype=torch.long
        )
        if len(tokens) < self.length:
            raise DataError(
                f"{texts.name} has {len(tokens)} tokens, fewer than one sequence of {self.length}: give more text or "
                "a smaller length (--length)"
            )
        self._check_token(int(tokens.max()))
        return tokens

    def _special(self, *names: str) -> int:
        """The first special token of these names that the tokenizer has."""
        candidates = (getattr(self.tokenizer, f"{name}_token_id") for name in names)
        token = next((candidate for candidate in candidates if candidate is not None), None)
        if token is None:
            raise DataError(f"the tokenizer has no {names[0]} token: set tokenizer.{names[0]}_token")
        return token

    def _check_token(self, largest: int) -> None:
        """Check that the model has an embedding for the largest token number."""
        rows = None if self.config is None else getattr(self.config.get_text_config(), "vocab_size", None)
        if rows is not None and largest >= rows:
            raise DataError(
                f"the tokenizer does not fit the model: it returns token {largest} "
                f"({self.tokenizer.convert_ids_to_tokens(largest)!r}), but the model has {rows} tokens; give the "
                "tokenizer of the model (--tokenizer)"
            )
