"""`secateurs study activations`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.job import with_job
from secateurs.cli.options import words_of
from secateurs.cli.studies.scratch import SCRATCH, Budget, Epochs, RecoveryEpochs
from secateurs.cli.studies.show import Json, Out, Quiet, Seeds, show

if TYPE_CHECKING:
    from secateurs.job import Job


@partial(with_job, **SCRATCH)
def activations(
    job: Callable[[], Job],
    activations: Annotated[str, typer.Option(help="Separated by commas.")] = "relu,leaky-relu,gelu,silu",
    budget: Budget = "macs:0.5",
    epochs: Epochs = 8,
    recovery_epochs: RecoveryEpochs = 3,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """NEXP with threshold 0 and with the median in networks with other activations than ReLU (a minute or two)."""
    from dataclasses import replace

    from secateurs.studies.activations import activations as study

    its = replace(job(), budget=budget)
    show(lambda *how: study(its, words_of(activations), seeds, epochs, recovery_epochs, *how), out, quiet, as_json)
