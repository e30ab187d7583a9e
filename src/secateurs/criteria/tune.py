"""Choose the weights of a hybrid for each group, by the loss on held-out data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateurs.criteria.criterion import GroupScores
from secateurs.data import Loss
from secateurs.errors import DataError
from secateurs.evaluate import mean_loss
from secateurs.structure import Structure, zeroed
from secateurs.utils import Progress, batch_statistics, silent

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The candidates for α, the weight of the second criterion."""
KEPT = 0.5
"""The share of the units of each group that the model keeps while candidates are compared."""


@dataclass(frozen=True)
class EverySecond:
    """Every second batch of the data. The object has a length if the data has a length.

    Attributes:
        data: the batches.
        first: 0 selects the batches of even index, 1 the batches of odd index.

    Raises:
        DataError: the iteration ends without a batch.
    """

    data: Iterable[Any]
    first: int

    def __iter__(self) -> Iterator[Any]:
        empty = True
        for number, item in enumerate(self.data):
            if number % 2 == self.first:
                empty = False
                yield item
        if empty:
            raise DataError(
                "a hybrid with automatic weights needs at least two batches: one half computes the scores, the other "
                "half chooses the weights; give more or smaller batches"
            )

    def __len__(self) -> int:
        return (len(self.data) + 1 - self.first) // 2  # type: ignore[arg-type]


def choose_alphas(
    scores: Mapping[float, GroupScores],
    model: nn.Module,
    structure: Structure,
    held_out: Iterable[Any],
    loss: Loss | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Choose an α for every group by the loss of the model without the half of the units that scores lowest.

    The lower half of each group is set to zero, and batch norm uses the statistics of each batch. The search is greedy.
    It starts with the best α that is the same for all groups. Then each group in turn gets the α with the lowest loss,
    while the α of every other group is fixed. So the final held-out loss is at most the loss of the best common α. The
    search takes about four forward passes over the held-out data for each group.

    Args:
        scores: each α of `ALPHAS` to the scores of all groups.
        model: the model; it is evaluated and not changed.
        structure: the structure of the model.
        held_out: labelled batches that were not used to compute the scores.
        loss: see `secateurs.score_many`.
        progress: wraps the iteration over the groups.

    Returns:
        Group name to α.
    """

    def loss_of_choice(alphas: Mapping[str, float]) -> float:
        """The held-out loss of the masked model for one α per group."""
        keep = {}
        for name, alpha in alphas.items():
            values = scores[alpha][name]
            kept = max(round(KEPT * len(values)), structure.groups[name].least)
            keep[name] = tuple(sorted(values.argsort(descending=True, stable=True)[:kept].tolist()))
        # The running statistics belong to the unpruned model. They would shift the means of the masked model, and the
        # shift would hide the differences between candidates.
        with batch_statistics(model):
            return mean_loss(model, held_out, loss, masked_parameters(model, structure, keep))

    groups = list(scores[ALPHAS[0]])
    losses = {alpha: loss_of_choice(dict.fromkeys(groups, alpha)) for alpha in ALPHAS}
    best = min(ALPHAS, key=losses.__getitem__)
    alphas, lowest = dict.fromkeys(groups, best), losses[best]
    for name in progress(groups, "choosing weights"):
        for alpha in ALPHAS:
            trial = {**alphas, name: alpha}
            if alpha != alphas[name] and (value := loss_of_choice(trial)) < lowest:
                alphas, lowest = trial, value
    return alphas


def masked_parameters(model: nn.Module, structure: Structure, keep: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Copy the parameters of removed units, and set the entries of these units to zero.

    Args:
        model: the model; not changed.
        structure: the structure of the model.
        keep: group name to the indices of the kept units.

    Returns:
        Parameter name to the masked copy. Parameters without entries of removed units are missing.
    """
    parameters = dict(model.named_parameters())
    return {
        name: zeroed(parameters[name].detach(), masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in parameters and not all(mask.all() for mask in masks)
    }
