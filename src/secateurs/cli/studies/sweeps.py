"""`secateurs study hybrid`, `beta` and `schedule`: studies that prune, recover and measure many times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.compare import SOME_FAILED
from secateurs.cli.job import with_job
from secateurs.cli.options import floats_of, integers_of, words_of
from secateurs.cli.output import Json, Quiet
from secateurs.cli.resume import stoppable, typed
from secateurs.cli.studies.show import DIGITS, Criteria, Seeds, show

if TYPE_CHECKING:
    from secateurs.experiments import Job
    from secateurs.experiments.studies import Finding
    from secateurs.utils import Progress

Place = Annotated[Path, typer.Option(help="Directory for what is found and for the runs; the same command goes on.")]
Workers = Annotated[int, typer.Option(min=1, help="Runs at a time.")]
Budget = Annotated[str, typer.Option(help="What is kept: macs:F, params:F or keep:F.")]
HOME = Path("secateurs-study")


def hybrid(
    job: Callable[[], Job],
    out: Place = HOME / "hybrid",
    criteria: Annotated[str, typer.Option(help="The two that are mixed, with a comma between.")] = "l1,nexp",
    alphas: Annotated[str, typer.Option(help="Shares of the second, separated by commas.")] = "0,0.2,0.4,0.6,0.8,1",
    budget: Budget = "macs:0.5",
    seeds: Seeds = 3,
    workers: Workers = 2,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Mix two criteria in all proportions: does any mixture do better than either alone?"""
    from secateurs.experiments import on_this_machine
    from secateurs.experiments.studies import run_hybrid as study

    mine = dataclasses.replace(job(), budget=budget)
    what = (words_of(criteria), floats_of(alphas), seeds)
    _swept(lambda *how: study(mine, out, on_this_machine(workers), *what, *how), out, quiet, as_json)


def beta(
    job: Callable[[], Job],
    out: Place = HOME / "beta",
    criteria: Criteria = "taylor",
    betas: Annotated[str, typer.Option(help="Factors, separated by commas.")] = "0.5,0.75,1,1.25,1.5,2",
    seeds: Seeds = 3,
    workers: Workers = 2,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Keep β times the effective number of units: is β = 1 where the cliff is?"""
    from secateurs.experiments import on_this_machine
    from secateurs.experiments.studies import run_beta as study

    what = (words_of(criteria), floats_of(betas), seeds)
    mine = job()
    _swept(lambda *how: study(mine, out, on_this_machine(workers), *what, *how), out, quiet, as_json)


def schedule(
    job: Callable[[], Job],
    out: Place = HOME / "schedule",
    criteria: Criteria = "ssi,nexp",
    rounds: Annotated[str, typer.Option(help="Numbers of rounds beside one, separated by commas.")] = "2,5",
    budget: Budget = "macs:0.5",
    seeds: Seeds = 3,
    workers: Workers = 2,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Prune in one shot and in rounds, without and with training in between: which ends higher, at equal epochs?"""
    from secateurs.experiments import on_this_machine
    from secateurs.experiments.studies import run_schedule as study

    mine = dataclasses.replace(job(), budget=budget)
    what = (words_of(criteria), integers_of(rounds), seeds)
    _swept(lambda *how: study(mine, out, on_this_machine(workers), *what, *how), out, quiet, as_json)


def _swept(study: Callable[[Progress, str], Finding], out: Path, quiet: bool, as_json: bool) -> None:
    with stoppable(typed()):
        finding = show(study, out, quiet, as_json)
    if finding.data["failed"]:
        raise typer.Exit(SOME_FAILED)


COMMANDS = (
    with_job(hybrid, **DIGITS, epochs=5, lr=0.02),
    with_job(beta, **DIGITS, epochs=5, lr=0.02),
    with_job(schedule, **DIGITS, epochs=5, lr=0.02, samples=256),
)
