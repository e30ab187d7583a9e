"""Options that several commands take, and how their text is read."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="py:path/to/file.py:factory, a function that builds the model; or hf:PATH.")]
Shape = Annotated[str, typer.Option("--input", help="Shape of one input without the batch dimension: 3,32,32.")]
Keep = Annotated[list[str], typer.Option(help="Name or pattern of modules whose units stay; may be repeated.")]
Kinds = Annotated[list[str], typer.Option(help="Kind of units that may go (see: secateurs list); may be repeated.")]
Seed = Annotated[int, typer.Option(min=0)]
BatchSize = Annotated[int, typer.Option(min=1)]


def shape_of(text: str) -> tuple[int, ...] | None:
    """The sizes in "3,32,32"; None for nothing."""
    if not text:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a shape such as 3,32,32", param_hint="--input") from None


def number_of(text: str) -> float | int:
    """An integer, or a fraction."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def floats_of(text: str) -> tuple[float, ...]:
    """The numbers in "0.5,0.5"."""
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as 0.485,0.456,0.406") from None


def words_of(text: str) -> tuple[str, ...]:
    """The words in "l1,nexp"."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def integers_of(text: str) -> tuple[int, ...]:
    """The numbers in "2,5,10"."""
    try:
        return tuple(int(word) for word in words_of(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers such as 2,5,10") from None
