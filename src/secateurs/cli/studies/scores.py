"""`secateurs study samples` and `ablation`: studies that score without cutting."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.job import JobOptions, with_job
from secateurs.cli.studies.show import DIGITS, criteria, out, seeds, show
from secateurs.cli.types import INTEGERS
from secateurs.experiments.studies import run_ablation, run_samples


@click.command()
@with_job(**DIGITS)
@criteria("nexp,ssi,ndi,random")
@click.option(
    "--sizes",
    type=INTEGERS,
    default="16,32,60,128,256",
    show_default=True,
    help="Numbers of samples, separated by commas.",
)
@seeds
@out
@options.quiet
@options.as_json
def samples(
    job: JobOptions,
    criteria: tuple[str, ...],
    sizes: tuple[int, ...],
    seeds: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score on few samples and on many: how many samples does a criterion need, and of which kind?"""
    chosen = job.job()
    show(lambda *shown: run_samples(chosen, criteria, sizes, seeds, *shown), out, quiet, as_json)


@click.command()
@with_job(**DIGITS)
@criteria("nexp,ssi,ndi,l1,taylor,fisher,obs")
@options.count("--units", 64, "Number of units of each group to remove, one by one.", least=3)
@seeds
@out
@options.quiet
@options.as_json
def ablation(
    job: JobOptions,
    criteria: tuple[str, ...],
    units: int,
    seeds: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Remove units one by one: which scores predict the change of the loss?"""
    chosen = job.job()
    show(lambda *shown: run_ablation(chosen, criteria, units, seeds, *shown), out, quiet, as_json)
