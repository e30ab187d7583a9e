"""Text files: formats and validation of texts and labels."""

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
    """Texts with optional labels.

    Attributes:
        name: the source of the texts, for error messages.
        documents: the texts. Empty texts are allowed only without labels.
        labels: one label per text: a class number, a class name, or a second text; None without labels.

    Raises:
        DataError: a text is not a string, is empty but has a label, all texts are empty, or the numbers of texts and
            labels differ.
    """

    name: str
    documents: Sequence[str]
    labels: Sequence[Any] | None = None

    def __post_init__(self):
        for number, document in enumerate(self.documents, 1):
            if not isinstance(document, str):
                raise DataError(
                    f"{self.name}: text {number} must be a string, not a {type(document).__name__}: "
                    f"{repr(document)[:60]}"
                )
            if self.labels is not None and not document.strip():
                raise DataError(f"{self.name}: text {number} is empty")
        if not any(document.strip() for document in self.documents):
            raise DataError(f"{self.name} contains no text")
        if self.labels is not None and len(self.labels) != len(self.documents):
            raise DataError(f"{self.name} has {len(self.documents)} texts but {len(self.labels)} labels")

    def lines(self) -> Texts:
        """Split texts without labels into one text per non-empty line. Texts with labels are returned unchanged."""
        if self.labels is not None:
            return self
        return Texts(self.name, [line for text in self.documents for line in text.splitlines() if line.strip()])


def read_plain(path: Path) -> Texts:
    """Read a file of plain text as one document.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or is empty.
    """
    return Texts(str(path), [_content(path)])


def read_json_lines(path: Path) -> Texts:
    """Read a file with one JSON object per line: with the field `text`, and the field `label` in all lines or in none.

    Raises:
        DataError: the file cannot be read, is empty, or a line has another form.
    """
    rows = [_parse_object(line, f"line {number} of {path}") for number, line in enumerate(_lines(path), 1)]
    fields = [TEXT, LABEL] if any(LABEL in row for row in rows) else [TEXT]
    for number, row in enumerate(rows, 1):
        if missing := [name for name in fields if name not in row]:
            raise DataError(f"line {number} of {path} has no field {missing[0]!r}, only {', '.join(row) or 'none'}")
    return Texts(str(path), [row[TEXT] for row in rows], [row[LABEL] for row in rows] if LABEL in fields else None)


def read_columns(path: Path) -> Texts:
    """Read a file with a text, a tab and a label in each line.

    Raises:
        DataError: the file cannot be read, is empty, or a line has another form.
    """
    rows = [line.split("\t") for line in _lines(path)]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise DataError(f"line {number} of {path} has {len(row)} columns: it must have two, a text and a label")
    return Texts(str(path), [row[0] for row in rows], [row[1] for row in rows])


FORMATS = {"text": read_plain, "jsonl": read_json_lines, "tsv": read_columns}
"""The function that reads a file, by format."""


def _content(path: Path) -> str:
    """Read the text of a UTF-8 file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} ({error.reason}). Convert the file to UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> list[str]:
    lines = _content(path).split("\n")
    return lines if lines[-1] else lines[:-1]


def _parse_object(line: str, where: str) -> dict[str, Any]:
    """Parse one line as a JSON object. `where` names the line in error messages."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object but a {type(row).__name__}")
    return row
