"""Text data sets and batches for a model, from files or from Python objects."""

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
        """Make the encoder. If no transformers model is named, the task is classification or causal.

        Args:
            labelled: whether the texts have labels; without a transformers model, these are classified.

        Raises:
            UsageError: no tokenizer is named.
            ModelError: the model or the tokenizer cannot be loaded.
        """
        path = self.tokenizer or self.model
        if not path:
            raise UsageError("text needs a tokenizer: give the directory or hub name of one (--tokenizer)")
        tokenizer = Pretrained(path, self.trust_remote_code).tokenizer()
        if not self.model:
            return Encoder(tokenizer, "classification" if labelled else "causal", None, self.length)
        model = Pretrained(self.model, self.trust_remote_code)
        return Encoder(tokenizer, model.task, model.config, self.length)


def read_text_dataset(kind: str, path: Path, options: TextOptions, overlap: bool = False) -> Dataset[Any]:
    """Read a text file as a data set of token sequences.

    Args:
        kind: format of the file, a key of `FORMATS`.
        path: the file.
        options: tokenizer and length of the sequences.
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
    """Make batches of tokenised text for a model of the transformers library.

    A batch is a dict of `input_ids` [samples, tokens], `labels` and, if sequences are padded, `attention_mask`
    [samples, tokens]. The task of the model determines the form of the samples:

    - A causal model gets sequences of one length, with the tokens as labels. The texts are joined with the
      end-of-sequence token and cut.
    - A masked model gets the same sequences. In each, 15 % of the tokens are masked, the same tokens in every epoch.
    - An encoder–decoder model gets pairs of a text and a label. Without labels, it predicts the second half of each
      sequence from the first half.
    - A classifier gets one text per sample, padded batch by batch, and the class number as label.

    Args:
        model: the model. The class and the configuration determine the task, the vocabulary and the classes.
        tokenizer: the tokenizer of the model.
        texts: a list of texts, or one split of a `datasets` object.
        labels: one label per text: a class number, a class name, or a text. For a `datasets` object, the name of the
            column of labels; by default "label" if there is such a column.
        column: the column of texts of a `datasets` object.
        length: tokens per sequence; by default the maximum of the model, at most 1024.
        overlap: for causal models: whether sequences overlap by half and each token is predicted once, as
            `secateurs.perplexity` requires.
        batch_size: sequences per batch.
        shuffle: whether the sequences are shuffled.
        seed: seed of the shuffled order.

    Returns:
        A loader of batches.

    Raises:
        ModelError: `model` is not a model of the transformers library.
        DataError: there are fewer tokens than one sequence, a token or label is unknown to the model, the tokenizer
            lacks a special token, or a column does not exist.
        UsageError: the model does not accept this length.

    Example:
        >>> def perplexity_of(model, tokenizer, texts):
        ...     return sc.perplexity(model, sc.text_data(model, tokenizer, texts, length=512))
    """
    config = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        raise ModelError(
            f"{type(model).__name__} is not a model of the transformers library: make batches with a tokenizer yourself"
        )
    task = task_of(type(model).__name__, bool(getattr(config, "is_encoder_decoder", False)))
    dataset = Encoder(tokenizer, task, config, length).dataset(_texts(texts, labels, column), overlap)
    return loader(dataset, batch_size, torch.Generator().manual_seed(seed) if shuffle else None)


def _texts(texts: Any, labels: Any, column: str) -> Texts:
    """Convert the texts and labels of `text_data` to `Texts`."""
    if has_columns(texts):
        if labels is not None and not isinstance(labels, str):
            raise DataError("for a datasets object, labels must be the name of the column of labels, not a list")
        return read_rows(texts, column, labels)
    if isinstance(texts, str) or isinstance(labels, str):
        raise DataError("texts and labels must be lists, not single strings: give [text] for a single text")
    return Texts("texts", list(texts), None if labels is None else list(labels))
