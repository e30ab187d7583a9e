"""`secateurs study planted`: find planted redundancy."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.studies.show import out, show
from secateurs.cli.types import WORDS
from secateurs.experiments.studies import run_planted


@click.command()
@click.option(
    "--criteria",
    type=WORDS,
    default=None,
    help="Separated by commas; by default all criteria that can score the network.",
)
@options.count("--seeds", 5, "Number of networks to train.")
@out
@options.quiet
@options.as_json
def planted(criteria: tuple[str, ...] | None, seeds: int, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Plant redundant units into small networks, and measure how well each criterion finds them (minutes)."""
    show(
        lambda shown, command: run_planted(seeds, criteria or None, progress=shown).finding(command),
        out,
        quiet,
        as_json,
    )
