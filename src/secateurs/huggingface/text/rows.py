"""Texts from a data set of the `datasets` library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateurs.errors import DataError
from secateurs.huggingface.text.files import LABEL, TEXT, Texts


def has_columns(texts: Any) -> bool:
    """Whether `texts` is a data set of the datasets library, or a dict of splits of one."""
    return hasattr(texts, "column_names")


def read_rows(dataset: Any, text: str = TEXT, label: str | None = None) -> Texts:
    """Read the texts and, if present, the labels of a data set.

    Args:
        dataset: a data set of the datasets library, in memory, on disk or streamed.
        text: name of the column of texts.
        label: name of the column of labels; by default "label" if there is such a column.

    Raises:
        DataError: a column does not exist, the data set is empty, or it is a dict of splits.
    """
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        raise DataError(f"the {kind} has the splits {', '.join(map(repr, dataset))}: give one of them")
    rows = list(dataset)
    if not rows:
        raise DataError(f"the {kind} is empty")
    columns = list(rows[0])
    names = [text, *([label] if label else [LABEL] if LABEL in columns and text != LABEL else [])]
    if missing := [name for name in names if name not in columns]:
        raise DataError(f"the {kind} has no column {missing[0]!r}, only {', '.join(map(repr, columns))}")
    documents, *labels = ([row[name] for row in rows] for name in names)
    return Texts(f"the {kind}", documents, labels[0] if labels else None)
