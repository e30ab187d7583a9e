"""What all commands share: how they print, and how they show where they are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and no progress.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, and nothing on standard output.")]


def progress(quiet: bool) -> Any:
    """Wraps iterables in a progress bar with the time left; in nothing where nobody would see it move."""

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
