"""The weights of a hybrid for each group, chosen by the loss on data that its criteria were not scored on."""

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
KEPT = 0.5
"""The share of the units of every group that is kept while weights are chosen."""


@dataclass(frozen=True)
class EverySecond:
    """Every second batch of some data: those with even indices (first = 0) or with odd ones (first = 1).

    It has a length if the data has one.
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
                "a hybrid with automatic weights needs several batches: it scores on half of them and chooses weights "
                "on the others; give more or smaller batches"
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
    """Choose an α for every group by the loss of the model without the units that score lowest.

    Half of the units of all groups are masked, and batch norm uses each batch's own statistics. First the best α for
    all groups alike is chosen, then each group in turn takes the α that lowers the loss most while the others keep
    theirs: so the loss on the held-out data is at most that of the best single α. This takes about four forward passes
    over that data per group.

    Args:
        scores: the scores of all groups for each α of `ALPHAS`.
        model: evaluated, not changed.
        structure: of the model.
        held_out: labelled batches, other than those that the scores come from.
        loss: see `secateurs.score_many`.
        progress: wraps the iteration over the groups.

    Returns:
        Group name to α.
    """

    def loss_of_choice(alphas: Mapping[str, float]) -> float:
        keep = {}
        for name, alpha in alphas.items():
            values = scores[alpha][name]
            kept = max(round(KEPT * len(values)), structure.groups[name].least)
            keep[name] = tuple(sorted(values.argsort(descending=True, stable=True)[:kept].tolist()))
        with batch_statistics(model):  # as if recalibrated: shifted means would hide the differences between choices
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
    """The parameters that lose entries, with all entries of the removed units set to zero."""
    parameters = dict(model.named_parameters())
    return {
        name: zeroed(parameters[name].detach(), masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in parameters and not all(mask.all() for mask in masks)
    }
