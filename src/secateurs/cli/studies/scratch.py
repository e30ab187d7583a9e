"""`secateurs study initialisation`, `activations` and `dynamics`: studies that train from scratch."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.job import JobOptions, with_job
from secateurs.cli.studies.show import DIGITS, criteria, out, seeds, show
from secateurs.cli.types import WORDS
from secateurs.experiments.studies import run_activations, run_dynamics, run_initialisation

RECOVERY_HELP = "Epochs after the cut; networks that are not cut train equally long."


@click.command()
@with_job(cell=("budget",), **DIGITS, lr=0.05, epochs=4, compensate=False, budget="macs:0.25")
@criteria("nexp,ssi,ndi,synflow,snip,grasp")
@options.count("--recovery-epochs", 2, RECOVERY_HELP)
@seeds
@out
@options.quiet
@options.as_json
def initialisation(
    job: JobOptions,
    criteria: tuple[str, ...],
    recovery_epochs: int,
    seeds: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score before and after training, and prune at both times: do scores at initialisation predict later ones?"""
    chosen = job.job()
    epochs = chosen.recipe.epochs
    show(
        lambda *shown: run_initialisation(chosen, criteria, seeds, epochs, recovery_epochs, *shown),
        out,
        quiet,
        as_json,
    )


@click.command()
@with_job(cell=("budget",), **DIGITS, lr=0.05, epochs=8, compensate=False, budget="macs:0.25")
@click.option(
    "--activations", type=WORDS, default="relu,leaky-relu,gelu,silu", show_default=True, help="Separated by commas."
)
@options.count("--recovery-epochs", 3, RECOVERY_HELP)
@seeds
@out
@options.quiet
@options.as_json
def activations(
    job: JobOptions,
    activations: tuple[str, ...],
    recovery_epochs: int,
    seeds: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Replace the activations: how do NEXP's threshold 0 and the median compare for each activation?"""
    chosen = job.job()
    epochs = chosen.recipe.epochs
    show(
        lambda *shown: run_activations(chosen, activations, seeds, epochs, recovery_epochs, *shown),
        out,
        quiet,
        as_json,
    )


@click.command()
@with_job(**DIGITS, lr=0.05, epochs=10, samples=256)
@criteria("ndi,diversity,informativeness,fisher,l1")
@options.count("--records", 10, "Number of scorings after the first, which is at the start.", least=2)
@seeds
@out
@options.quiet
@options.as_json
def dynamics(
    job: JobOptions,
    criteria: tuple[str, ...],
    records: int,
    seeds: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score all units while a network trains: when does their order settle?"""
    chosen = job.job()
    epochs = chosen.recipe.epochs
    show(lambda *shown: run_dynamics(chosen, criteria, seeds, epochs, records, *shown), out, quiet, as_json)
