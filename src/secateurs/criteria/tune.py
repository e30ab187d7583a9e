"""A hybrid's weights for each group, chosen by the loss on data that the scores were not made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from secateurs.criteria.criterion import GroupScores
from secateurs.criteria.hybrid import Hybrid
from secateurs.data import Loss
from secateurs.errors import DataError
from secateurs.evaluate import mean_loss
from secateurs.structure import Structure, zeroed
from secateurs.utils import Progress, batch_statistics, silent

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
KEPT = 0.5
"""The share of every group's units that is kept while weights are chosen."""


@dataclass(frozen=True)
class EverySecond:
    """Every second batch of some data: those with even numbers (first = 0) or with odd ones (first = 1).

    It has a length if the data has one.
    """

    data: Iterable[Any]
    first: int

    def __iter__(self) -> Iterator[Any]:
        found = False
        for number, item in enumerate(self.data):
            if number % 2 == self.first:
                found = True
                yield item
        if not found:
            raise DataError("a hybrid with automatic weights needs several batches: it scores on one half of them")

    def __len__(self) -> int:
        return (len(self.data) + 1 - self.first) // 2  # type: ignore[arg-type]


def tune(
    hybrid: Hybrid,
    parts: Mapping[str, GroupScores],
    model: nn.Module,
    structure: Structure,
    held_out: Iterable[Any],
    loss: Loss | None = None,
    progress: Progress = silent,
) -> Hybrid:
    """Choose the weight of a hybrid's two criteria for every group.

    Half of the units of all groups are masked, and batch norm goes by each batch's own statistics. First the best α
    for all groups alike is found, then each group in turn takes the α that lowers the loss most, the others staying as
    they are: so the loss on the data held out is at most that of the best single α. It costs some four forward passes
    over that data per group.

    Args:
        hybrid: with alpha="auto".
        parts: the scores of its two criteria.
        model: evaluated, not changed.
        structure: of the model.
        held_out: labelled batches, other than those that the scores were made from.
        loss: as for `score_many`.
        progress: wraps the iteration over the groups.

    Returns:
        The hybrid with weights for every group.
    """
    one, other = parts
    choices = {alpha: replace(hybrid, alpha=alpha, weights=(one, other)).join(parts) for alpha in ALPHAS}

    def loss_of_choice(alphas: Mapping[str, float]) -> float:
        keep = {}
        for name, alpha in alphas.items():
            scores = choices[alpha][name]
            kept = max(round(KEPT * len(scores)), structure.groups[name].least)
            keep[name] = tuple(sorted(scores.argsort(descending=True, stable=True)[:kept].tolist()))
        with batch_statistics(model):  # as if recalibrated: else shifted means would drown what the choice is about
            return mean_loss(model, held_out, loss, masked(model, structure, keep))

    groups = list(choices[ALPHAS[0]])
    losses = {alpha: loss_of_choice(dict.fromkeys(groups, alpha)) for alpha in ALPHAS}
    best = min(ALPHAS, key=losses.__getitem__)
    alphas, lowest = dict.fromkeys(groups, best), losses[best]
    for name in progress(groups, "choosing weights"):
        for alpha in ALPHAS:
            trial = {**alphas, name: alpha}
            if alpha != alphas[name] and (value := loss_of_choice(trial)) < lowest:
                alphas, lowest = trial, value
    return replace(hybrid, of_group={name: {one: 1 - alpha, other: alpha} for name, alpha in alphas.items()})


def masked(model: nn.Module, structure: Structure, keep: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The parameters that lose something, with everything of the units that are not kept set to zero."""
    parameters = dict(model.named_parameters())
    return {
        name: zeroed(parameters[name].detach(), masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in parameters and not all(mask.all() for mask in masks)
    }
