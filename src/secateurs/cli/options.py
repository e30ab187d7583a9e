"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from secateurs.cli.types import INTEGERS

DATA_HELP = "npz:, folder:, text:, jsonl: or tsv:PATH, random:N, or digits."

model = click.argument("model", metavar="MODEL")
shape = click.option(
    "--input", "shape", type=INTEGERS, default=None, help="Shape of one input without the batch dimension: 3,32,32."
)
keep = click.option(
    "--keep", multiple=True, help="Name or pattern of modules whose units are all kept; may be repeated."
)
kinds = click.option(
    "--kinds", multiple=True, help="Kind of units that may be removed (see: secateurs list kinds); may be repeated."
)
seed = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random numbers.")
data = click.option("--data", required=True, help=DATA_HELP)
quiet = click.option("--quiet", is_flag=True, help="Show no progress, and print nothing on standard output.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and show no progress.")


def batch_size(default: int = 64) -> Any:
    """The option --batch-size."""
    return click.option(
        "--batch-size", type=click.IntRange(1), default=default, show_default=True, help="Samples per batch."
    )


def count(name: str, default: int, text: str, least: int = 1) -> Any:
    """An option with an integer value of at least `least`."""
    return click.option(name, type=click.IntRange(least), default=default, show_default=True, help=text)


def path_option(name: str, text: str, **settings: Any) -> Any:
    """An option with a path."""
    return click.option(name, type=click.Path(path_type=Path), help=text, **settings)
