"""What all studies share on the command line: their options, and how what they found is written and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.output import Json, Quiet, print_json, print_table, progress
from secateurs.cli.resume import typed

if TYPE_CHECKING:
    from secateurs.experiments.studies import Finding
    from secateurs.utils import Progress

Out = Annotated[Path | None, typer.Option(help="Directory for NAME.json, NAME.md and the pictures NAME-*.svg.")]
Seeds = Annotated[int, typer.Option(min=1, help="Repetitions.")]
Criteria = Annotated[str, typer.Option(help="Separated by commas; see: secateurs list criteria.")]
DIGITS = {"model": "digits", "data": "digits", "test": "digits:test"}
"""What is studied if nothing else is named."""

__all__ = ["DIGITS", "Criteria", "Json", "Out", "Quiet", "Seeds", "show"]


def show(study: Callable[[Progress, str], Finding], out: Path | None, quiet: bool, as_json: bool) -> Finding:
    """Make a study, write what it found if there is a place for it, and print it.

    Args:
        study: gets what shows progress, and the command that was typed.
        out: directory to write to.
        quiet: print nothing.
        as_json: print JSON instead of text.

    Returns:
        What it found.
    """
    from secateurs.experiments.studies import make_directory

    if out is not None:
        make_directory(out)  # before anything slow
    finding = study(progress(quiet or as_json), typed())
    if out is not None:
        finding.write(out)
    if as_json:
        print_json(finding.as_dict())
    elif not quiet:
        print(f"{finding.sentence}\n")
        print_table(finding.title, list(finding.headers), finding.rows)
        print("".join(f"\n{note}\n" for note in finding.notes), end="")
        if out is not None:
            print(f"\nWritten to {out}")
    return finding
