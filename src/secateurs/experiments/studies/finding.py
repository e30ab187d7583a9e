"""What a study found: a sentence, a table, pictures, and everything that was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateurs.errors import PersistError
from secateurs.utils import environment, markdown, write_whole


@dataclass(frozen=True)
class Finding:
    """What a study found.

    Attributes:
        study: its name on the command line.
        title: what was asked.
        sentence: what was found, said from the data.
        headers, rows: the table for people.
        data: everything that was measured, as plain data for JSON.
        command: how to do it again.
        notes: what a reader should know.
        figures: pictures by name, as SVG text that can stand alone.
        provenance: what it was measured with.
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
        """Everything but the pictures, as plain data for JSON."""
        return {name: its for name, its in vars(self).items() if name != "figures"}

    def markdown(self) -> str:
        """A page with the sentence, the pictures (beside it, as files) and the table."""
        parts = [f"# {self.title}", self.sentence]
        parts += [f"![{name}]({self._file(name)})" for name in self.figures]
        parts += [markdown(self.headers, self.rows).strip(), *self.notes, f"Made by `{self.command}`."]
        parts.append(f"Measured with {', '.join(f'{name} {its}' for name, its in self.provenance.items())}.")
        return "\n\n".join(parts) + "\n"

    def write(self, directory: str | Path) -> None:
        """Write STUDY.json, STUDY.md and the pictures; what is there under these names is replaced.

        Raises:
            PersistError: the directory cannot be written to.
        """
        texts = {f"{self.study}.json": json.dumps(self.as_dict(), indent=1) + "\n", f"{self.study}.md": self.markdown()}
        texts |= {self._file(name): text for name, text in self.figures.items()}
        try:
            for name, text in texts.items():
                write_whole(Path(directory) / name, text)
        except OSError as error:
            raise PersistError(f"the study cannot be written to {directory}: {error}") from error

    def _file(self, figure: str) -> str:
        return f"{self.study}-{figure}.svg"


def make_directory(directory: str | Path) -> Path:
    """The directory, made if it is not there.

    Raises:
        PersistError: it cannot be made.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PersistError(f"the study cannot be written to {directory}: {error}") from error
    return Path(directory)
