"""`secateurs study hybrid`, `beta` and `schedule`: studies that prune, recover and measure many times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from secateurs.cli import options
from secateurs.cli.compare import SOME_FAILED
from secateurs.cli.job import JobOptions, with_job
from secateurs.cli.resume import command_line, stoppable
from secateurs.cli.studies.show import DIGITS, criteria, seeds, show
from secateurs.cli.types import FLOATS, INTEGERS, WORDS
from secateurs.experiments import on_this_machine
from secateurs.experiments.studies import Finding, run_beta, run_hybrid, run_schedule
from secateurs.utils import Progress

workers = options.count("--workers", 2, "Number of runs at a time.")


def _out(name: str) -> Any:
    text = "Directory for the finding and the runs; the same command resumes them."
    return options.path_option("--out", text, default=Path("secateurs-study") / name, show_default=True)


@click.command()
@with_job(cell=("budget",), **DIGITS, epochs=5, lr=0.02)
@_out("hybrid")
@click.option(
    "--criteria",
    type=WORDS,
    default="l1,nexp",
    show_default=True,
    help="The two criteria to mix, separated by a comma.",
)
@click.option(
    "--alphas",
    type=FLOATS,
    default="0,0.2,0.4,0.6,0.8,1",
    show_default=True,
    help="Weights of the second criterion, separated by commas.",
)
@seeds
@workers
@options.quiet
@options.as_json
def hybrid(
    job: JobOptions,
    out: Path,
    criteria: tuple[str, ...],
    alphas: tuple[float, ...],
    seeds: int,
    workers: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Mix two criteria in several proportions: is a mixture better than either criterion alone?"""
    chosen, execute = job.job(), on_this_machine(workers)
    _show(lambda *shown: run_hybrid(chosen, out, execute, criteria, alphas, seeds, *shown), out, quiet, as_json)


@click.command()
@with_job(**DIGITS, epochs=5, lr=0.02)
@_out("beta")
@criteria("taylor")
@click.option(
    "--betas", type=FLOATS, default="0.5,0.75,1,1.25,1.5,2", show_default=True, help="Factors, separated by commas."
)
@seeds
@workers
@options.quiet
@options.as_json
def beta(
    job: JobOptions,
    out: Path,
    criteria: tuple[str, ...],
    betas: tuple[float, ...],
    seeds: int,
    workers: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Keep β times the effective number of units: does accuracy drop most at β = 1?"""
    chosen, execute = job.job(), on_this_machine(workers)
    _show(lambda *shown: run_beta(chosen, out, execute, criteria, betas, seeds, *shown), out, quiet, as_json)


@click.command()
@with_job(cell=("budget",), without=("rounds",), **DIGITS, epochs=5, lr=0.02, samples=256)
@_out("schedule")
@criteria("ssi,nexp")
@click.option(
    "--rounds",
    "numbers",
    type=INTEGERS,
    default="2,5",
    show_default=True,
    help="Numbers of rounds to compare with one round.",
)
@seeds
@workers
@options.quiet
@options.as_json
def schedule(
    job: JobOptions,
    out: Path,
    criteria: tuple[str, ...],
    numbers: tuple[int, ...],
    seeds: int,
    workers: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Prune in one shot and in rounds, with and without training in between: which is best at equal epochs?"""
    chosen, execute = job.job(), on_this_machine(workers)
    _show(lambda *shown: run_schedule(chosen, out, execute, criteria, numbers, seeds, *shown), out, quiet, as_json)


def _show(study: Callable[[Progress, str], Finding], out: Path, quiet: bool, as_json: bool) -> None:
    """Show a study that consists of runs; exit with code 4 if one of them failed."""
    with stoppable(command_line()):
        finding = show(study, out, quiet, as_json)
    if finding.data["failed"]:
        raise click.exceptions.Exit(SOME_FAILED)
