"""Text for a model, from files or from Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import nn
from torch.utils.data import DataLoader, Dataset

from secateurs.errors import DataError, ModelError, UsageError
from secateurs.huggingface.pretrained import Pretrained
from secateurs.huggingface.tasks import task_of
from secateurs.huggingface.text.encode import Encoder
from secateurs.huggingface.text.files import FORMATS, TEXT, Texts
from secateurs.huggingface.text.rows import has_columns, read_rows
from secateurs.huggingface.text.sequences import loader


@dataclass(frozen=True)
class TextOptions:
    """Tokenization of text files.

    Like `Recovery`, it converts to JSON and back with pydantic, which refuses unknown keys.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: Annotated[
        str,
        Field(description="Directory or hub name of the transformers model that reads the text; empty for any other."),
    ] = ""
    tokenizer: Annotated[
        str, Field(description="Directory or hub name of the tokenizer; by default the model's own.")
    ] = ""
    length: Annotated[
        int | None,
        Field(description="Tokens per sequence; by default the model's maximum, but at most 1024."),
    ] = None
    trust_remote_code: Annotated[
        bool, Field(description="Run Python code that comes with the model or the tokenizer.")
    ] = False

    def encoder(self, labelled: bool) -> Encoder:
        """What tokenises; for a model of another kind, text with labels is to be classified, other text continued.

        Raises:
            UsageError: no tokenizer is named.
            ModelError: model or tokenizer cannot be loaded.
        """
        place = self.tokenizer or self.model
        if not place:
            raise UsageError("text needs a tokenizer: name the directory of one (--tokenizer)")
        tokenizer = Pretrained(place, self.trust_remote_code).tokenizer()
        if not self.model:
            return Encoder(tokenizer, "classification" if labelled else "causal", None, self.length)
        model = Pretrained(self.model, self.trust_remote_code)
        return Encoder(tokenizer, model.task, model.config, self.length)


def read_text_dataset(kind: str, path: Path, options: TextOptions, overlap: bool = False) -> Dataset[Any]:
    """The text of a file as sequences of tokens.

    Args:
        kind: one of `FORMATS`.
        path: of the file.
        options: how it becomes sequences.
        overlap: see `Encoder.dataset`.

    Raises:
        DataError, ModelError, UsageError: see `FORMATS`, `TextOptions.encoder` and `Encoder.dataset`.
    """
    texts = FORMATS[kind](path)
    return options.encoder(texts.labels is not None).dataset(texts, overlap)


def text_data(
    model: nn.Module,
    tokenizer: Any,
    texts: Iterable[str] | Any,
    labels: Iterable[Any] | str | None = None,
    *,
    column: str = TEXT,
    length: int | None = None,
    overlap: bool = False,
    batch_size: int = 8,
    shuffle: bool = False,
    seed: int = 0,
) -> DataLoader[Any]:
    """Batches for a model of the transformers library: dicts of `input_ids`, `labels` and, if padded, `attention_mask`.

    A causal model gets the texts joined (with the end-of-sequence token between them) and cut into sequences of one
    length, and the tokens themselves as labels. A masked model gets the same with 15 % of the tokens hidden, always the
    same ones; an encoder and decoder gets pairs of a text and its label, or without labels the first half of each
    sequence to predict the second from. A classifier gets each text by itself, padded batch by batch, and its class.

    Args:
        model: the model; its class and configuration determine the task, the vocabulary and the classes.
        tokenizer: the tokenizer of the model.
        texts: a list of texts, or one split of a `datasets` object.
        labels: one label per text: a class number, a class name, or a text. For a `datasets` object, the name of the
            column of labels; by default "label" if there is such a column.
        column: the column of texts of a `datasets` object.
        length: tokens per sequence; by default the maximum of the model, at most 1024.
        overlap: for causal models: whether sequences overlap by half, and each token is predicted once, as
            `secateurs.perplexity` needs it.
        batch_size: sequences per batch.
        shuffle: whether the order is drawn by the seed.
        seed: the seed of the order.

    Returns:
        A loader of batches.

    Raises:
        ModelError: this is no model of the transformers library.
        DataError: there is no text or less than one sequence of text, the model has no such token or label, or there
            is no such column.
        UsageError: the model does not accept this length.

    Example:
        >>> def perplexity_of(model, tokenizer, texts):
        ...     return sc.perplexity(model, sc.text_data(model, tokenizer, texts, length=512))
    """
    config = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        raise ModelError(f"a {type(model).__name__} is no model of the transformers library; make batches of your own")
    task = task_of(type(model).__name__, bool(getattr(config, "is_encoder_decoder", False)))
    dataset = Encoder(tokenizer, task, config, length).dataset(_texts(texts, labels, column), overlap)
    return loader(dataset, batch_size, torch.Generator().manual_seed(seed) if shuffle else None)


def _texts(texts: Any, labels: Any, column: str) -> Texts:
    if has_columns(texts):
        if labels is not None and not isinstance(labels, str):
            raise DataError("name the column of the labels: those of a datasets object lie in one")
        return read_rows(texts, column, labels)
    if isinstance(texts, str) or isinstance(labels, str):
        raise DataError("give a list of texts, even of one, and a list of labels")
    return Texts("texts", list(texts), None if labels is None else list(labels))
