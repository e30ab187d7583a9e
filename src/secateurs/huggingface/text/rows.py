"""Texts in the rows of a `datasets` object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateurs.errors import DataError
from secateurs.huggingface.text.files import LABEL, TEXT, Texts


def has_columns(texts: Any) -> bool:
    """Whether this is an object of the datasets library, whole or in splits."""
    return hasattr(texts, "column_names")


def read_rows(dataset: Any, text: str = TEXT, label: str | None = None) -> Texts:
    """The texts of a data set, and their labels where there are any.

    Args:
        dataset: of the datasets library, in memory, on disk or streamed.
        text: the column with the texts.
        label: the column with labels; by default "label" if there is one.

    Raises:
        DataError: there is no such column, or these are several splits.
    """
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise DataError(f"a {kind} holds the splits {', '.join(map(repr, dataset))}: give one of them")
    rows = list(dataset)
    if not rows:
        raise DataError(f"the {kind} is empty")
    columns = list(rows[0])
    wanted = [text, *([label] if label else [LABEL] if LABEL in columns and text != LABEL else [])]
    if lacking := [name for name in wanted if name not in columns]:
        raise DataError(f"the {kind} has no column {lacking[0]!r}, only {', '.join(map(repr, columns))}")
    documents, *labels = ([row[name] for row in rows] for name in wanted)
    return Texts(f"the {kind}", documents, labels[0] if labels else None)
