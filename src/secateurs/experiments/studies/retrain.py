"""Models from scratch: re-initialised, and trained by a job's labelled data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from secateurs.errors import ModelError, UsageError
from secateurs.experiments.digits import DIGITS, DigitsNet
from secateurs.experiments.job import Job
from secateurs.experiments.specs import is_random
from secateurs.surgery import rebuild
from secateurs.training import MakeOptimizer, finetune, recalibrate, tracking_norms
from secateurs.utils import Progress, rng, silent

EPOCHS, RECOVERY_EPOCHS = 4, 2
"""Of training from scratch, and of the training after a cut; the demo's network gets 97 % of the digits right."""

S = TypeVar("S")


@dataclass(frozen=True)
class SeedResult(Generic[S]):
    """What one seed showed.

    Attributes:
        dense: accuracy of the whole network, trained as long as the pruned ones.
        seen: per criterion.
    """

    dense: float
    seen: Mapping[str, S]


def check(job: Job, seeds: int, *epochs: int) -> None:
    """See that a study can train from scratch, before anything slow.

    Raises:
        UsageError: it cannot.
    """
    if seeds < 1 or min(epochs) < 1:
        raise UsageError(f"a study takes at least one seed and one epoch, not {seeds} and {min(epochs)}")
    if is_random(job.training or job.data):
        raise UsageError(f"nothing can be learnt from {job.training or job.data!r}: give labelled data (--train)")
    if job.weights or job.fit or job.recovery.distill_weight or job.epochs_between:
        raise UsageError(
            "a study trains all its models alike, from new weights, to the labels: leave out --weights, --fit, "
            "--distill-weight and --epochs-between"
        )
    job.check()


def tested(job: Job) -> Iterable[Any]:
    """What accuracy is measured on.

    Raises:
        UsageError: the job names nothing.
    """
    data = job.tested()
    if data is None:
        raise UsageError("accuracy is measured on labelled data that is not trained on: name some (--test)")
    return data


def architecture(job: Job) -> nn.Module:
    """The job's model, with whatever weights; the demo's network is not trained for that."""
    return DigitsNet() if job.model == DIGITS else job.dense()


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """A copy with new weights: every module's `reset_parameters` is called, a module's after those in it.

    torch's `MultiheadAttention` calls its own `_reset_parameters`.

    Args:
        model: stays as it is.
        seed: of the weights.

    Raises:
        ModelError: the model cannot be copied, or a module has parameters of its own that it cannot reset.
    """
    fresh = _copied(model)
    resets = {
        name: getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        for name, module in fresh.named_modules()
    }
    stuck = [
        f"{name or 'the model itself'} ({type(module).__name__})"
        for name, module in fresh.named_modules()
        if resets[name] is None and next(module.parameters(recurse=False), None) is not None
    ]
    if stuck:
        raise ModelError(
            f"{type(model).__name__} cannot be initialised anew: {', '.join(stuck[:5])} {'…' if stuck[5:] else ''}has "
            "parameters of its own but no method reset_parameters(); give its class one"
        )
    with rng(seed):
        for reset in reversed(list(resets.values())):
            if reset is not None:
                reset()
    return fresh


def untrained(model: nn.Module, job: Job) -> nn.Module:
    """A re-initialised copy, by the job's seed, whose batch norm has statistics of the job's labelled inputs.

    Without them batch norm would, in evaluation, be the identity, and most units always on or always off.
    """
    fresh = reinitialised(model, job.seed)
    if tracking_norms(fresh):
        recalibrate(fresh, job.labelled()[0])
    return fresh


def train(
    model: nn.Module, job: Job, epochs: int, optimizer: MakeOptimizer | None = None, progress: Progress = silent
) -> nn.Module:
    """Train a model in place by the job's recipe and seed.

    Args:
        model: to train; in evaluation mode afterwards.
        job: has the labelled data and the recipe.
        epochs: in the place of the recipe's.
        optimizer: see `finetune`.
        progress: wraps the epochs.

    Returns:
        The model.

    Raises:
        SecateursError: of the kind that `finetune` raises.
    """
    data, validation = job.labelled()
    recipe = dataclasses.replace(job.recovery, epochs=epochs)
    finetune(model, data, recipe, validation=validation, optimizer=optimizer, seed=job.seed, progress=progress)
    return model.eval()


def trained(model: nn.Module, job: Job, epochs: int) -> nn.Module:
    """A trained copy; see `train`."""
    return train(_copied(model), job, epochs)


def _copied(model: nn.Module) -> nn.Module:
    return rebuild(model, lambda _, tensor: tensor.clone())
