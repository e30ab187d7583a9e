"""Models trained from scratch: re-initialised, and trained on the labelled data of a job."""

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
"""Epochs of training from scratch and after a cut; with them the demo's network classifies 97 % of the digits."""

S = TypeVar("S")


@dataclass(frozen=True)
class SeedResult(Generic[S]):
    """The measurements of one seed.

    Attributes:
        dense: accuracy of the dense network, trained for as long as the pruned ones.
        seen: the measurements of each criterion.
    """

    dense: float
    seen: Mapping[str, S]


def check(job: Job, seeds: int, *epochs: int) -> None:
    """Check that a study can train from scratch, before anything slow.

    Raises:
        UsageError: an option does not allow it, or the data has no labels.
    """
    if seeds < 1 or min(epochs) < 1:
        raise UsageError(f"a study needs at least one seed and one epoch, not {seeds} and {min(epochs)}")
    if is_random(job.labelled_spec):
        raise UsageError(f"nothing can be learnt from {job.labelled_spec!r}: give labelled data (--train)")
    if job.weights or job.fit or job.recipe.distill_weight or job.config.between:
        raise UsageError(
            "a study trains all its models alike, from new weights, to the labels: leave out --weights, --fit, "
            "--distill-weight and --epochs-between"
        )
    job.check()


def test_data(job: Job) -> Iterable[Any]:
    """The data to measure accuracy on.

    Raises:
        UsageError: the job names none.
    """
    data = job.tested()
    if data is None:
        raise UsageError("this study measures accuracy: give labelled data that is not trained on (--test)")
    return data


def architecture(job: Job) -> nn.Module:
    """The job's model, with arbitrary weights; the demo's network is not trained."""
    return DigitsNet() if job.model == DIGITS else job.dense()


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """Copy a model and give it new weights: call `reset_parameters` of every module, children before parents.

    `torch.nn.MultiheadAttention` has `_reset_parameters` instead.

    Args:
        model: is not changed.
        seed: of the weights.

    Raises:
        ModelError: the model cannot be copied, or a module has parameters but no method that resets them.
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
            f"{type(model).__name__} cannot be re-initialised: {', '.join(stuck[:5])} {'…' if stuck[5:] else ''}has "
            "parameters but no method reset_parameters(): add one to the class"
        )
    with rng(seed):
        for reset in reversed(list(resets.values())):
            if reset is not None:
                reset()
    return fresh


def untrained(model: nn.Module, job: Job) -> nn.Module:
    """A copy re-initialised with the job's seed, with statistics of the labelled inputs in batch norm.

    Without these statistics batch norm would be the identity in evaluation, and most units would always or never fire.
    """
    fresh = reinitialised(model, job.config.seed)
    if tracking_norms(fresh):
        recalibrate(fresh, job.labelled()[0])
    return fresh


def train(
    model: nn.Module, job: Job, epochs: int, optimizer: MakeOptimizer | None = None, progress: Progress = silent
) -> nn.Module:
    """Train a model in place with the job's recipe and seed.

    Args:
        model: to train; in evaluation mode afterwards.
        job: names the labelled data and the recipe.
        epochs: replace the epochs of the recipe.
        optimizer: makes the optimizer; see `finetune`.
        progress: wraps the epochs.

    Returns:
        The model.

    Raises:
        SecateursError: as raised by `finetune`.
    """
    data, validation = job.labelled()
    recipe = dataclasses.replace(job.recipe, epochs=epochs)
    finetune(model, data, recipe, validation=validation, optimizer=optimizer, seed=job.config.seed, progress=progress)
    return model.eval()


def trained(model: nn.Module, job: Job, epochs: int) -> nn.Module:
    """Train a copy of a model; see `train`."""
    return train(_copied(model), job, epochs)


def _copied(model: nn.Module) -> nn.Module:
    return rebuild(model, lambda _, tensor: tensor.clone())
