"""Texts, with labels where there are any, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateurs.errors import DataError

TEXT, LABEL = "text", "label"


@dataclass(frozen=True)
class Texts:
    """Some texts; those that are empty count only if they have labels, and are then refused.

    Attributes:
        name: of where they are from, for messages.
        documents: the texts.
        labels: one for each, if there are any: a number or a name of a class, or a second text.
    """

    name: str
    documents: Sequence[str]
    labels: Sequence[Any] | None = None

    def __post_init__(self):
        for number, document in enumerate(self.documents, 1):
            if not isinstance(document, str):
                raise DataError(f"{self.name}: text {number} is a {type(document).__name__}: {repr(document)[:60]}")
            if self.labels is not None and not document.strip():
                raise DataError(f"{self.name}: text {number} is empty")
        if not any(document.strip() for document in self.documents):
            raise DataError(f"{self.name} holds no text")
        if self.labels is not None and len(self.labels) != len(self.documents):
            raise DataError(f"{self.name} has {len(self.documents)} texts but {len(self.labels)} labels")

    def lines(self) -> Texts:
        """Texts without labels line by line, leaving out empty lines; others as they are."""
        if self.labels is not None:
            return self
        return Texts(self.name, [line for text in self.documents for line in text.splitlines() if line.strip()])


def read_plain(path: Path) -> Texts:
    """A file of plain text, which is one document.

    Raises:
        DataError: it cannot be read, is no UTF-8, or is empty.
    """
    return Texts(str(path), [_content(path)])


def read_json_lines(path: Path) -> Texts:
    """A file with a JSON object in each line: a field `text`, and `label` in every line or in none.

    Raises:
        DataError: it cannot be read, is empty, or a line is not of this form.
    """
    rows = [_object(line, f"line {number} of {path}") for number, line in enumerate(_lines(path), 1)]
    wanted = [TEXT, LABEL] if any(LABEL in row for row in rows) else [TEXT]
    for number, row in enumerate(rows, 1):
        if lacking := [name for name in wanted if name not in row]:
            raise DataError(f"line {number} of {path} has no field {lacking[0]!r}, only {', '.join(row) or 'none'}")
    return Texts(str(path), [row[TEXT] for row in rows], [row[LABEL] for row in rows] if LABEL in wanted else None)


def read_columns(path: Path) -> Texts:
    """A file with a text, a tab and a label in each line, and nothing else.

    Raises:
        DataError: it cannot be read, is empty, or a line is not of this form.
    """
    rows = [line.split("\t") for line in _lines(path)]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise DataError(f"line {number} of {path} has {len(row)} columns: give two, a text and its label")
    return Texts(str(path), [row[0] for row in rows], [row[1] for row in rows])


FORMATS = {"text": read_plain, "jsonl": read_json_lines, "tsv": read_columns}
"""What reads a file, by the name of its format."""


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} ({error.reason}); convert it first") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> list[str]:
    lines = _content(path).split("\n")
    return lines if lines[-1] else lines[:-1]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object but a {type(row).__name__}")
    return row
