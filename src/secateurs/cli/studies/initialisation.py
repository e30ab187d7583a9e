"""`secateurs study initialisation`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from secateurs.cli.job import with_job
from secateurs.cli.options import words_of
from secateurs.cli.studies.scratch import SCRATCH, Budget, Epochs, RecoveryEpochs
from secateurs.cli.studies.show import Criteria, Json, Out, Quiet, Seeds, show

if TYPE_CHECKING:
    from secateurs.job import Job


@partial(with_job, **SCRATCH)
def initialisation(
    job: Callable[[], Job],
    criteria: Criteria = "nexp,ssi,ndi,synflow,snip,grasp",
    budget: Budget = "macs:0.5",
    epochs: Epochs = 4,
    recovery_epochs: RecoveryEpochs = 2,
    seeds: Seeds = 3,
    out: Out = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Scores at initialisation against scores after training, and what pruning at either time costs (minutes)."""
    from dataclasses import replace

    from secateurs.studies.initialisation import initialisation as study

    its = replace(job(), budget=budget)
    show(lambda *how: study(its, words_of(criteria), seeds, epochs, recovery_epochs, *how), out, quiet, as_json)
