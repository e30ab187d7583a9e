"""Measure the cells of an experiment that have not been measured yet: `python -m benchmarks.real NAME`."""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from typing import Annotated, Literal

import typer

from benchmarks.real import NAMES
from benchmarks.real.experiment import experiment
from benchmarks.real.record import Line, append, key, latest, path_of, text
from benchmarks.real.work import measured
from benchmarks.shared import check
from secateurs.cli.output import errors, progress
from secateurs.errors import DataError


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    recipe: Annotated[Literal["quick", "full"], typer.Option(help="Full: the published one, for a GPU.")] = "quick",
    workers: Annotated[int, typer.Option(min=1, help="Processes at a time, of one thread each.")] = 1,
    only: Annotated[str, typer.Option(help="Cells whose text, as --list shows it, holds this pattern.")] = "*",
    again: Annotated[bool, typer.Option("--again", help="Also measured ones; the last counts.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only say which cells would be measured.")] = False,
) -> None:
    """Measure the cells of an experiment that have not been measured yet; interrupt it whenever you like."""
    if name not in NAMES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(NAMES)}")
    its, path = experiment(name), path_of(name)
    chosen = [cell for cell in its.cells(recipe) if fnmatch(text(cell), f"*{only}*")]
    done = set() if again else {key(line.settings) for line in latest(path, chosen)}
    cells = [cell for cell in chosen if key(cell) not in done]
    if show:
        print(*map(text, cells), sep="\n")
        return
    try:
        check()
    except DataError as error:
        raise typer.BadParameter(str(error)) from error
    failed = 0
    for _, (cell, outcome) in zip(progress(False)(range(len(cells)), name), measured(its, cells, workers), strict=True):
        if isinstance(outcome, Line):
            append(path, outcome)
            errors.print(f"{outcome.date} {text(cell)}: {outcome.seconds:.0f} s", highlight=False, soft_wrap=True)
        else:
            failed += 1
            errors.print(f"FAILED {text(cell)}: {outcome}", highlight=False, soft_wrap=True, markup=False)
    errors.print(f"{len(chosen) - len(cells)} cells were there, {len(cells) - failed} are new, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
