"""`secateurs study samples` and `ablation`: studies that score and cut nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.job import with_job
from secateurs.cli.options import integers_of, words_of
from secateurs.cli.output import Json, Quiet
from secateurs.cli.studies.show import DIGITS, Criteria, Out, Seeds, show

if TYPE_CHECKING:
    from secateurs.experiments import Job


def samples(
    job: Callable[[], Job],
    criteria: Criteria = "nexp,ssi,ndi,random",
    sizes: Annotated[str, typer.Option(help="Numbers of samples, separated by commas.")] = "16,32,60,128,256",
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score on few samples and on many others: how many does a criterion need, and which?"""
    from secateurs.experiments.studies import run_samples as study

    mine, what = job(), (words_of(criteria), integers_of(sizes), seeds)
    show(lambda *how: study(mine, *what, *how), out, quiet, as_json)


def ablation(
    job: Callable[[], Job],
    criteria: Criteria = "nexp,ssi,ndi,l1,taylor,fisher,obs",
    units: Annotated[int, typer.Option(min=3, help="Of each group that are removed, one by one.")] = 64,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Remove units one by one: which scores know what the loss is without them?"""
    from secateurs.experiments.studies import run_ablation as study

    mine, what = job(), (words_of(criteria), units, seeds)
    show(lambda *how: study(mine, *what, *how), out, quiet, as_json)


COMMANDS = (with_job(samples, **DIGITS), with_job(ablation, **DIGITS))
