"""Functions for all studies on the command line: shared options, and writing and printing of findings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from secateurs.cli import options
from secateurs.cli.output import print_json, print_table, progress
from secateurs.cli.resume import command_line
from secateurs.cli.types import WORDS
from secateurs.experiments.studies import Finding, make_directory
from secateurs.utils import Progress

DIGITS: dict[str, Any] = {"model": "digits", "data": "digits", "test": "digits:test"}
"""The default model and data of a study."""

out = options.path_option("--out", "Directory for NAME.json, NAME.md and the pictures NAME-*.svg.")
seeds = options.count("--seeds", 3, "Repetitions.")


def criteria(default: str) -> Any:
    """The option --criteria."""
    return click.option(
        "--criteria",
        type=WORDS,
        default=default,
        show_default=True,
        help="Separated by commas; see: secateurs list criteria.",
    )


def show(study: Callable[[Progress, str], Finding], out: Path | None, quiet: bool, as_json: bool) -> Finding:
    """Run a study, write its finding to a directory if there is one, and print it.

    Args:
        study: runs the study; called with the function that shows progress and the command line.
        out: directory to write to.
        quiet: print nothing.
        as_json: print JSON instead of text.

    Returns:
        The finding.
    """
    if out is not None:
        make_directory(out)  # before anything slow
    finding = study(progress(quiet or as_json), command_line())
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
