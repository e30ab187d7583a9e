"""What commands share whose work is kept in a directory and can continue there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click

from secateurs.cli.options import path_option
from secateurs.cli.output import errors

resume = path_option("--resume", "Continue what was begun in this directory, with the same options.")


def directory_of(ctx: click.Context, out: Path | None, resume: Path | None) -> tuple[Path, bool]:
    """The directory, and whether a run in it continues.

    Raises:
        BadParameter: there is no directory; or other options are given for a run that continues.
    """
    if resume is None:
        if out is None:
            raise click.BadParameter("give the directory of the run: --out DIRECTORY")
        return out, False
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := given - {"resume", "quiet", "as_json"}:
        names = ", ".join(sorted(name.rpartition("__")[2] for name in others))
        raise click.BadParameter(f"a run continues with the options that began it: leave out {names}")
    return resume, True


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["secateurs", *sys.argv[1:]])


def resumable(command: str, directory: Path) -> AbstractContextManager[None]:
    """Print the command that continues if the user stops the run."""
    return stoppable(shlex.join(["secateurs", command, "--resume", str(directory)]))


@contextmanager
def stoppable(again: str) -> Iterator[None]:
    """Print this command if the user stops the run."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"Stopped. To continue: {again}", markup=False, highlight=False, soft_wrap=True)
        raise click.exceptions.Exit(130) from None
