"""The result of a study: a sentence, a table, pictures, and all measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateurs.errors import PersistError
from secateurs.utils import atomic_write_text, environment, markdown


@dataclass(frozen=True)
class Finding:
    """The result of a study.

    Attributes:
        study: name of the study on the command line.
        title: heading.
        sentence: the result in words, made from the data.
        headers, rows: the table.
        data: all measurements, as plain data for JSON.
        command: the command that repeats the study.
        notes: explanations for readers.
        figures: pictures by name, each the text of an SVG file.
        provenance: versions and hardware.
    """

    study: str
    title: str
    sentence: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Any
    command: str
    notes: Sequence[str] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=environment)

    def as_dict(self) -> dict[str, Any]:
        """All but the pictures, as plain data for JSON."""
        return {name: value for name, value in vars(self).items() if name != "figures"}

    def markdown(self) -> str:
        """A page with the sentence, links to the files of the pictures, and the table."""
        parts = [f"# {self.title}", self.sentence]
        parts += [f"![{name}]({self._file(name)})" for name in self.figures]
        parts += [markdown(self.headers, self.rows).strip(), *self.notes, f"Made by `{self.command}`."]
        parts.append(f"Measured with {', '.join(f'{name} {value}' for name, value in self.provenance.items())}.")
        return "\n\n".join(parts) + "\n"

    def write(self, directory: str | Path) -> None:
        """Write STUDY.json, STUDY.md and the pictures; files of these names are replaced.

        Raises:
            PersistError: the directory cannot be written to.
        """
        texts = {f"{self.study}.json": json.dumps(self.as_dict(), indent=1) + "\n", f"{self.study}.md": self.markdown()}
        texts |= {self._file(name): text for name, text in self.figures.items()}
        try:
            for name, text in texts.items():
                atomic_write_text(Path(directory) / name, text)
        except OSError as error:
            raise PersistError(f"the study cannot be written to {directory}: {error}") from error

    def _file(self, figure: str) -> str:
        return f"{self.study}-{figure}.svg"


def make_directory(directory: str | Path) -> Path:
    """Make a directory unless it exists.

    Raises:
        PersistError: the directory cannot be made.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PersistError(f"the study cannot be written to {directory}: {error}") from error
    return Path(directory)
