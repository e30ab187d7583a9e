"""`rank_features`: score the features of an input, and choose those to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import EFFECTIVE, best, certificate, number, parse_share
from secateurs.data import Call, Loss, batches, first_batch, map_data
from secateurs.errors import CriterionError, DataError
from secateurs.evaluate import mean_loss
from secateurs.pruning.input_features.feature_ranking import FeatureRanking
from secateurs.pruning.input_features.feature_scores import METHODS, features_of, score_features
from secateurs.utils import Progress, check_has_values, evaluating, silent


def rank_features(
    model: nn.Module,
    data: Iterable[Any],
    method: str = "taylor",
    budget: str = "effective",
    *,
    loss: Loss | None = None,
    progress: Progress = silent,
) -> FeatureRanking:
    """Score every feature of the input (a pixel, a column of a table), and choose the features to keep.

    EMP (arXiv 2509.25606) applied to features: it keeps ν = ⌊β · N_eff⌋ of them, where N_eff = 1 / Σ ω² is the
    effective sample size of the scores and ω are the scores divided by their sum. The method bounds no loss; the loss
    with the kept features alone is measured instead.

    Args:
        model: evaluated, not changed.
        data: batches that can be read several times; see `secateurs.data.batches`. The first floating-point tensor of
            each batch [samples, ...] is ranked.
        method: "taylor": the mean over samples of |x · ∂loss/∂x|, which needs targets; "magnitude": the mean of |x|;
            "variance": the variance of x.
        budget: "effective", "effective:B" with the factor β = B, or "keep:F" for a fraction F of the features.
        loss: maps (outputs, targets) to a mean over samples; see `secateurs.data.loss_of`.
        progress: wraps the iterations over the data.

    Returns:
        Scores and the mask of kept features, in the shape of one input, and the loss before and after.

    Raises:
        ModelError: the model is on the meta device.
        CriterionError: the method does not exist.
        BudgetError: the budget has another form.
        DataError: the inputs have no floating-point tensor, or differ in shape; "taylor" has no targets; the data can
            be read only once; a score is not finite; or the model rejects a batch.

    Example:
        >>> ranking = sc.rank_features(model, data, budget="keep:0.25")
        >>> ranking.keep.shape, int(ranking.keep.sum())
        (torch.Size([3, 8, 8]), 48)
    """
    check_has_values(model, "ranking its input features")
    if method not in METHODS:
        raise CriterionError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    parsed = parse_share(budget, "input features")
    if isinstance(data, Iterator):
        raise DataError("the data is an iterator, which can be read only once; give a list or a DataLoader")
    with evaluating(model):
        scores, means = score_features(model, data, method, loss, progress)
        context = "the input features"
        kept = number(parsed, scores.flatten(), context)
        keep = best(scores.reshape(1, -1), torch.tensor([kept])).reshape(scores.shape)
        evidence = certificate(scores, parsed.fraction, kept, context) if parsed.quantity == EFFECTIVE else None
        ranking = FeatureRanking(scores, keep, means, method, budget, evidence)
        if method != "taylor" and loss is None and first_batch(data).targets is None:
            return ranking
        before = mean_loss(model, data, loss, progress=progress)
        masked = map_data(partial(_ChangedFeatures, change=ranking.apply), data)
        after = mean_loss(model, masked, loss, progress=progress)
    return replace(ranking, loss_before=before, loss_after=after)


@dataclass(frozen=True)
class _ChangedFeatures:
    """The same batches, with `change` applied to the features of each."""

    data: Any
    change: Callable[[Tensor], Tensor]

    def __iter__(self) -> Iterator[tuple[Call, Any]]:
        for batch in batches(self.data):
            features = features_of(batch)
            yield batch.call.map(lambda t, original=features: self.change(t) if t is original else t), batch.targets

    def __len__(self) -> int:
        return len(self.data)
