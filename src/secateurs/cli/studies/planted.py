"""`secateurs study planted`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.output import Json, print_json, print_table, progress


def planted(
    out: Annotated[Path | None, typer.Option(help="Directory for planted.json, planted.md and planted.svg.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks that are trained and planted into.")] = 5,
    criteria: Annotated[
        list[str], typer.Option("--criteria", help="Criterion to measure; may be repeated. By default all that apply.")
    ] = [],  # noqa: B006 (typer reads it)
    as_json: Json = False,
) -> None:
    """Plant redundant units into small networks and see which criteria find them (minutes)."""
    from secateurs.studies import made, run

    if out is not None:
        made(out)  # before anything slow
    found = run(seeds, criteria or None, progress=progress(as_json))
    if out is not None:
        found.write(out)
    if as_json:
        print_json(found.as_dict())
        return
    print_table(found.title, *found.table())
    print("\n" + "\n\n".join(found.notes))
    if out is not None:
        print(f"\nWritten to {out}")
