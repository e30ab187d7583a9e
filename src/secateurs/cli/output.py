"""Output of all commands: results, progress and errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

errors = Console(stderr=True)


def progress(quiet: bool) -> Any:
    """A function that wraps an iterable in a progress bar with the time left; no bar if quiet or not on a terminal."""

    def track(items: Iterable[Any], description: str) -> Iterable[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors, transient=True) as bar:
            yield from bar.track(items, description=description)

    def silent(items: Iterable[Any], description: str) -> Iterable[Any]:
        return items

    return silent if quiet or not errors.is_terminal else track


def print_table(title: str, headers: list[str], rows: Iterable[Any]) -> None:
    """Print rows under headers on standard output."""
    from secateurs.utils import render

    print(render(title, headers, list(rows)), end="")


def print_json(value: Any) -> None:
    """Print plain data on standard output."""
    print(json.dumps(value, indent=1))
