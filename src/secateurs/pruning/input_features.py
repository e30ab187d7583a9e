"""`rank_features`: which entries of an input a model goes by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateurs.budgets import EFFECTIVE, Certificate, best, certificate, number, parse_share
from secateurs.data import (
    Batch,
    Call,
    Loss,
    batches,
    errors_on_all_ranks,
    first_batch,
    loss_of,
    map_data,
    sum_over_ranks,
)
from secateurs.errors import CriterionError, DataError, PersistError
from secateurs.evaluate import mean_loss
from secateurs.observe import Totals, merge_statistics
from secateurs.utils import Progress, check_has_values, device_of, evaluating, render, silent

METHODS = {
    "taylor": "the mean over samples of |x · ∂loss/∂x|",
    "magnitude": "the mean over samples of |x|",
    "variance": "the variance over samples of x",
}
"""How features are scored, x being one feature of one sample."""


@dataclass(frozen=True)
class FeatureRanking:
    """The features of an input, and those that are kept.

    Attributes:
        scores: float64 in the shape of one input, higher = keep.
        keep: bool in that shape.
        means: of each feature over the data, float64 in that shape.
        method: of `METHODS`.
        budget: as it was asked for.
        certificate: for the budget "effective", what it rests on.
        loss_before: the mean loss over the data, if there is one: the data has targets, or `loss` was given, or the
            method is "taylor".
        loss_after: the same with the features that are not kept set to their means.
    """

    scores: Tensor
    keep: Tensor
    means: Tensor
    method: str
    budget: str
    certificate: Certificate | None
    loss_before: float | None = None
    loss_after: float | None = None

    def apply(self, x: Tensor) -> Tensor:
        """Inputs [..., *shape of one input] with the features that are not kept set to their means over the data.

        Raises:
            DataError: the inputs are of another shape, or are not floating.
        """
        shape = self.keep.shape
        if x.shape[x.ndim - len(shape) :] != shape or not x.is_floating_point():
            raise DataError(
                f"the ranking is of floating inputs of shape {list(shape)}, with any dimensions before these, not of "
                f"{str(x.dtype)[6:]}{list(x.shape)}"
            )
        return torch.where(self.keep.to(x.device), x, self.means.to(x))

    def save(self, path: str | Path) -> None:
        """Write `scores`, `keep` and `means` to an npz file.

        Raises:
            PersistError: the file exists already, or cannot be written.
        """
        path = Path(path).with_suffix(".npz")
        if path.exists():
            raise PersistError(f"{path} exists already; give a new name")
        try:
            np.savez(path, scores=self.scores.numpy(), keep=self.keep.numpy(), means=self.means.numpy())
        except OSError as error:
            raise PersistError(f"the ranking cannot be written to {path}: {error}") from error

    def __str__(self) -> str:
        total, kept = self.keep.numel(), int(self.keep.sum())
        row = (str(list(self.keep.shape)), total, kept, f"{kept / total:.1%}")
        text = render(f"features by {self.method}, {self.budget}", ("input", "features", "kept", "kept %"), [row])
        if self.certificate is not None:
            text += f"effective: {self.certificate}\n"
        if self.loss_before is not None:
            text += f"loss {self.loss_before:.4g} → {self.loss_after:.4g}, measured on the same data\n"
        return text + "Features that are not kept have their mean over the data in what apply() returns.\n"


def rank_features(
    model: nn.Module,
    data: Iterable[Any],
    method: str = "taylor",
    budget: str = "effective",
    *,
    loss: Loss | None = None,
    progress: Progress = silent,
) -> FeatureRanking:
    """Score every entry of an input (a pixel, a column of a table), and choose the effective ones.

    This is the feature-wise form of EMP (arXiv 2509.25606): ν = ⌊β · N_eff⌋ features are kept, with N_eff = 1 / Σ ω²
    and ω the scores divided by their sum. The loss with only these is measured, not promised.

    Args:
        model: run in evaluation mode; it is not changed.
        data: batches that can be read several times; see `secateurs.data.batches`. The first floating-point tensor of
            each batch [samples, ...] is ranked.
        method: "taylor" (needs targets), "magnitude" or "variance".
        budget: "effective", "effective:B" with the factor β = B, or "keep:F" for a fraction of the features.
        loss: maps (outputs, targets) to a mean over samples; see `secateurs.data.loss_of`.
        progress: wraps the iterations over the data.

    Returns:
        Scores and the mask of kept features, in the shape of one input, and the loss before and after.

    Raises:
        ModelError: the model is on the meta device.
        CriterionError: there is no such method.
        BudgetError: the budget has another form.
        DataError: inputs have no floating-point tensor, or differ in shape; "taylor" has no targets; the data can be
            read only once; a score is not finite; or the model refuses a batch.

    Example:
        >>> ranking = sc.rank_features(model, data, budget="keep:0.25")
        >>> ranking.keep.shape, int(ranking.keep.sum())
        (torch.Size([3, 8, 8]), 48)
    """
    check_has_values(model, "ranking its input features")
    if method not in METHODS:
        raise CriterionError(f"method {method!r} is none of {', '.join(METHODS)}")
    goal = parse_share(budget, "input features")
    if isinstance(data, Iterator):
        raise DataError("the data is an iterator, which can be read only once; give a list or a DataLoader")
    with evaluating(model):
        scores, means = _look(model, data, method, loss, progress)
        where = "the input features"
        kept = number(goal, scores.flatten(), where)
        keep = best(scores.reshape(1, -1), torch.tensor([kept])).reshape(scores.shape)
        proof = certificate(scores, goal.fraction, kept, where) if goal.quantity == EFFECTIVE else None
        ranking = FeatureRanking(scores, keep, means, method, budget, proof)
        if method != "taylor" and loss is None and first_batch(data).targets is None:
            return ranking
        before = mean_loss(model, data, loss, progress=progress)
        after = mean_loss(model, map_data(partial(_Changed, change=ranking.apply), data), loss, progress=progress)
    return replace(ranking, loss_before=before, loss_after=after)


def _look(
    model: nn.Module, data: Iterable[Any], method: str, loss: Loss | None, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Scores and means over the data, each in the shape of one input."""
    device = device_of(model)
    first = _ranked(first_batch(data).to(device))[:1].double()
    totals, sums = Totals(), torch.zeros(first.shape[1:], dtype=torch.float64, device=device)
    with errors_on_all_ranks(data):
        for batch in progress(batches(data), "ranking features"):
            batch = batch.to(device)
            x = _ranked(batch)
            if x.shape[1:] != first.shape[1:]:
                shapes = f"{list(x.shape[1:])} and not of {list(first.shape[1:])} as before"
                raise DataError(f"batch {batch.index}: inputs are of shape {shapes}; crop, resize or pad them alike")
            totals = totals.extended((x - first).flatten(1))  # less the first: a constant's variance is exactly 0
            effects = x * _gradients(model, batch, x, loss) if method == "taylor" else x
            sums += effects.abs().sum(0, dtype=torch.float64)
    totals, sums = merge_statistics(data, totals), sum_over_ranks(data, sums)
    scores = totals.variance.reshape(sums.shape) if method == "variance" else sums / totals.rows
    if bad := int((~torch.isfinite(scores)).sum()):
        raise DataError(f"the scores of {bad} features are not finite; check the inputs, the targets and the weights")
    return scores.cpu(), (first[0] + totals.mean.reshape(sums.shape)).cpu()


@dataclass(frozen=True)
class _Changed:
    """Data with changed features."""

    data: Any
    change: Callable[[Tensor], Tensor]

    def __iter__(self) -> Iterator[tuple[Call, Any]]:
        for batch in batches(self.data):
            features = _ranked(batch)
            yield batch.call.map(lambda t, original=features: self.change(t) if t is original else t), batch.targets

    def __len__(self) -> int:
        return len(self.data)


def _ranked(batch: Batch) -> Tensor:
    """The input whose features are ranked."""
    x = next((tensor for tensor in batch.call.tensors() if tensor.is_floating_point()), None)
    if x is None:
        raise DataError(
            f"batch {batch.index} has no floating input ({batch.call.describe()}): integers, such as tokens, choose "
            "rows of a table, and their values are no features; score the units of that table instead"
        )
    if x.ndim < 2 or len(x) != batch.size:
        raise DataError(
            f"batch {batch.index}: the first floating input has shape {list(x.shape)}; features need one whose "
            f"first dimension holds the {batch.size} samples, and its others the features"
        )
    return x


def _gradients(model: nn.Module, batch: Batch, x: Tensor, loss: Loss | None) -> Tensor:
    """The gradient of each sample's own loss; samples do not see each other in evaluation mode."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = _loss(model, batch, x, leaf.clone(), loss)  # a copy, as models may write into their inputs
        try:
            (gradient,) = torch.autograd.grad(value * batch.size, [leaf], materialize_grads=True)
        except RuntimeError as error:
            raise DataError(f"the loss of batch {batch.index} has no gradient: {error}") from error
    return gradient


def _loss(model: nn.Module, batch: Batch, x: Tensor, given: Tensor, loss: Loss | None) -> Tensor:
    """The mean loss of a batch with `given` in the place of `x`."""
    try:
        outputs = batch.call.map(lambda t: given if t is x else t.clone()).run(model)
    except Exception as error:
        raise batch.model_error(error) from error
    return loss_of(outputs, batch, loss)
