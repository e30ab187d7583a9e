"""What was measured: files to which lines are only ever appended, one JSON object per cell."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

Settings = dict[str, Any]
Figures = dict[str, Any]

RESULTS = Path(__file__).parents[1] / "results" / "real"


@dataclass(frozen=True)
class Line:
    """One finished cell.

    Attributes:
        settings: that decide it.
        figures: that were measured.
        seconds: that it took.
        versions: of what it was measured with.
        commit: of the code; "-dirty" if files of Python differed from it.
        date: when it was finished, UTC.
    """

    settings: Settings
    figures: Figures
    seconds: float
    versions: dict[str, str]
    commit: str
    date: str

    @classmethod
    def now(cls, settings: Settings, figures: Figures, seconds: float, versions: dict[str, str], commit: str) -> Line:
        """A cell that is finished now."""
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(settings, figures, round(seconds, 1), versions, commit, date)


def path_of(name: str) -> Path:
    """The file of an experiment."""
    return RESULTS / f"{name}.jsonl"


def key(settings: Settings) -> str:
    """The same for equal settings, whatever the order of their names."""
    return json.dumps(settings, sort_keys=True)


def text(settings: Settings) -> str:
    """Settings for people, and for patterns."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def append(path: Path, line: Line) -> None:
    """Add a line, whole, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(asdict(line), ensure_ascii=False) + "\n").encode())


def latest(path: Path, cells: Iterable[Settings]) -> list[Line]:
    """The last line of each of the cells that has one, in the order of the cells.

    Raises:
        ValueError: a line of the file cannot be read.
    """
    found: dict[str, Line] = {}
    for number, row in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), 1):
        try:
            line = Line(**json.loads(row))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}; take the line out") from error
        found[key(line.settings)] = line
    return [found[key(cell)] for cell in cells if key(cell) in found]


def commit() -> str:
    """Of the code in the working tree."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/*.py")
    return (_git("rev-parse", "--short=10", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*command: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # others may be committing
    done = subprocess.run(["git", *command], cwd=RESULTS.parents[1], capture_output=True, text=True, env=environment)
    return done.stdout.strip()
