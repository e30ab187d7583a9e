"""`secateurs study planted`."""

from __future__ import annotations

from typing import Annotated

import typer

from secateurs.cli.options import words_of
from secateurs.cli.output import Json, Quiet
from secateurs.cli.studies.show import Out, show


def planted(
    criteria: Annotated[str, typer.Option(help="Separated by commas; by default all that apply.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Networks that are trained and planted into.")] = 5,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Plant redundant units into small networks and see which criteria find them (minutes)."""
    from secateurs.experiments.studies import run_planted

    chosen = words_of(criteria) or None
    show(lambda progress, command: run_planted(seeds, chosen, progress=progress).finding(command), out, quiet, as_json)
