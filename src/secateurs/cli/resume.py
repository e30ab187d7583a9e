"""What commands share whose work is kept in a directory and can go on there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.output import errors

Resume = Annotated[Path | None, typer.Option(help="Go on with what was begun in this directory, as it was begun.")]


def where(ctx: typer.Context, out: Path | None, resume: Path | None) -> tuple[Path, bool]:
    """The directory, and whether something is gone on with there.

    Raises:
        BadParameter: there is no directory; or there is more than what was begun is to know.
    """
    if resume is None:
        if out is None:
            raise typer.BadParameter("say where it is to be kept: --out DIRECTORY")
        return out, False
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := given - {"resume", "quiet", "as_json"}:
        raise typer.BadParameter(f"it goes on as it was begun: leave out {', '.join(sorted(others))}")
    return resume, True


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(["secateurs", *sys.argv[1:]])


def resumable(command: str, directory: Path) -> AbstractContextManager[None]:
    """Whoever stops it is told how to go on."""
    return stoppable(shlex.join(["secateurs", command, "--resume", str(directory)]))


@contextmanager
def stoppable(again: str) -> Iterator[None]:
    """Whoever stops it is told the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"Stopped. To go on: {again}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
