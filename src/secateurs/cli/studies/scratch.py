"""`secateurs study initialisation`, `activations` and `dynamics`: studies that train from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateurs.cli.job import with_job
from secateurs.cli.options import words_of
from secateurs.cli.output import Json, Quiet
from secateurs.cli.studies.show import DIGITS, Criteria, Out, Seeds, show

if TYPE_CHECKING:
    from secateurs.experiments import Job

Epochs = Annotated[int, typer.Option(min=1, help="Of training from scratch.")]
RecoveryEpochs = Annotated[int, typer.Option(min=1, help="After the cut; networks that are not cut train as long.")]
Budget = Annotated[str, typer.Option(help="As for prune.")]


def initialisation(
    job: Callable[[], Job],
    criteria: Criteria = "nexp,ssi,ndi,synflow,snip,grasp",
    budget: Budget = "macs:0.25",
    epochs: Epochs = 4,
    recovery_epochs: RecoveryEpochs = 2,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score before and after training, and prune at either time: what is known at initialisation?"""
    from secateurs.experiments.studies import run_initialisation as study

    mine, what = replace(job(), budget=budget), (words_of(criteria), seeds, epochs, recovery_epochs)
    show(lambda *how: study(mine, *what, *how), out, quiet, as_json)


def activations(
    job: Callable[[], Job],
    activations: Annotated[str, typer.Option(help="Separated by commas.")] = "relu,leaky-relu,gelu,silu",
    budget: Budget = "macs:0.25",
    epochs: Epochs = 8,
    recovery_epochs: RecoveryEpochs = 3,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Swap the activations: what do NEXP's threshold 0 and the median make of each?"""
    from secateurs.experiments.studies import run_activations as study

    mine, what = replace(job(), budget=budget), (words_of(activations), seeds, epochs, recovery_epochs)
    show(lambda *how: study(mine, *what, *how), out, quiet, as_json)


def dynamics(
    job: Callable[[], Job],
    criteria: Criteria = "ndi,diversity,informativeness,fisher,l1",
    epochs: Epochs = 10,
    records: Annotated[int, typer.Option(min=2, help="How often units are scored, besides the start.")] = 10,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score all units while a network trains: when does their order settle?"""
    from secateurs.experiments.studies import run_dynamics as study

    mine, what = job(), (words_of(criteria), seeds, epochs, records)
    show(lambda *how: study(mine, *what, *how), out, quiet, as_json)


SCRATCH: dict[str, Any] = {**DIGITS, "lr": 0.05}
COMMANDS = (
    with_job(initialisation, **SCRATCH, compensate=False),
    with_job(activations, **SCRATCH, compensate=False),
    with_job(dynamics, **SCRATCH, samples=256),
)
