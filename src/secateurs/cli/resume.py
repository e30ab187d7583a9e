"""Functions for commands that store their work in a directory and can resume it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click

from secateurs.cli.options import path_option
from secateurs.cli.output import errors

resume = path_option("--resume", "Resume the run in this directory, with the same options.")


def directory_of(ctx: click.Context, out: Path | None, resume: Path | None) -> tuple[Path, bool]:
    """Find the directory of the run.

    Returns:
        The directory, and whether a run in it is resumed.

    Raises:
        BadParameter: no directory is given, or --resume is combined with other options.
    """
    if resume is None:
        if out is None:
            raise click.BadParameter("give the directory of the run: --out DIRECTORY")
        return out, False
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := given - {"resume", "quiet", "as_json"}:
        names = ", ".join(sorted(name.rpartition("__")[2] for name in others))
        raise click.BadParameter(f"a run is resumed with its original options: leave out {names}")
    return resume, True


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["secateurs", *sys.argv[1:]])


def resumable(command: str, directory: Path) -> AbstractContextManager[None]:
    """If the user interrupts the run, print the command that resumes it."""
    return stoppable(shlex.join(["secateurs", command, "--resume", str(directory)]))


@contextmanager
def stoppable(again: str) -> Iterator[None]:
    """If the user interrupts the run, print the command `again`, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"Stopped. To continue: {again}", markup=False, highlight=False, soft_wrap=True)
        raise click.exceptions.Exit(130) from None
