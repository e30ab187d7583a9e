"""Measure the cells of an experiment that have not been measured yet: `python -m benchmarks.real NAME`."""

from __future__ import annotations

import sys
from fnmatch import fnmatch

import click

from benchmarks.real import NAMES
from benchmarks.real.experiment import experiment
from benchmarks.real.record import Line, append, key, latest, path_of, text
from benchmarks.real.work import measured
from benchmarks.shared import check
from secateurs.cli.output import errors, progress
from secateurs.errors import DataError


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--recipe", type=click.Choice(["quick", "full"]), default="quick", help="full: the published one (GPU).")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes at a time, of one thread each.")
@click.option("--only", default="*", help="Cells whose text, as --list shows it, matches this pattern.")
@click.option("--again", is_flag=True, help="Measure cells again that have results; the last result counts.")
@click.option("--list", "show", is_flag=True, help="Only list the cells that would be measured.")
def command(name: str, recipe: str, workers: int, only: str, again: bool, show: bool) -> None:
    """Measure the cells of an experiment that have not been measured yet; it can be interrupted at any time."""
    main(name, recipe, workers, only, again, show)


def main(
    name: str, recipe: str = "quick", workers: int = 1, only: str = "*", again: bool = False, show: bool = False
) -> None:
    """Measure the cells of an experiment that have not been measured yet; interrupt it whenever you like."""
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
        raise click.ClickException(str(error)) from error
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
    command()
