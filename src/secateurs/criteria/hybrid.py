"""Hybrids: weighted sums of the normalised scores of several criteria."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import Scope
from secateurs.criteria.criterion import Composite, GroupScores
from secateurs.criteria.hybrid_text import AUTO_WEIGHT, read_hybrid, write_hybrid
from secateurs.criteria.normalizers import MEAN, NORMALIZERS
from secateurs.criteria.registry import CRITERIA
from secateurs.criteria.tune import ALPHAS, choose_alphas
from secateurs.data import Loss
from secateurs.errors import CriterionError
from secateurs.structure import Structure
from secateurs.utils import Progress, silent


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A weighted sum of criteria, whose scores are first normalised within each group.

    Source: NEXP (arXiv 2512.06440), hybrid scores. The paper computes α·NEXP + (1 − α)·importance and divides both
    terms by their mean over the layer. Two hybrids are equal if they have the same name.

    Attributes:
        weights: criterion name to weight; weights are ≥ 0 and not all zero. With `alpha`: the names of two criteria.
        normalize: the normaliser. "mean" divides scores by the mean magnitude of the group, as in the paper. "rank"
            replaces scores by ranks divided by the number of units. "robust-z" subtracts the median and divides by
            1.4826 × the median absolute deviation.
        alpha: the weight α of the second criterion, in [0, 1]; the first criterion has the weight 1 − α. With "auto",
            every second batch of the data is held out, and the loss on these batches determines α for each group.
        of_group: group name to weights, for groups whose weights differ from `weights`.

    Raises:
        CriterionError: a criterion or the normaliser is unknown, or a weight is invalid.

    Example:
        >>> hybrid = sc.Hybrid({"nexp": 0.7, "l1": 0.3}, normalize="rank")
        >>> hybrid.name
        'rank(0.7*nexp+0.3*l1)'
        >>> scores = sc.score(model, data, hybrid)  # the same as sc.score(model, data, hybrid.name)
    """

    weights: Mapping[str, float] | Sequence[str]
    normalize: str = MEAN
    alpha: float | str | None = None
    of_group: Mapping[str, Mapping[str, float]] | None = None

    def __post_init__(self):
        if self.normalize not in NORMALIZERS:
            raise CriterionError(f"unknown normaliser {self.normalize!r}; choose one of {', '.join(NORMALIZERS)}")
        for name in self.mix:
            if name not in CRITERIA:
                raise CriterionError(
                    f"unknown criterion {name!r} in a hybrid; choose from {', '.join(sorted(CRITERIA))}"
                )
        for weights in (self.mix, *(self.of_group or {}).values()):
            complete = isinstance(weights, Mapping) and set(weights) == set(self.mix)
            valid = complete and all(isinstance(w, (int, float)) and 0 <= w < math.inf for w in weights.values())
            if not valid or not any(weights.values()):
                raise CriterionError(f"the weights of a hybrid must be numbers ≥ 0, not all zero: {dict(weights)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hybrid) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def mix(self) -> Mapping[str, float]:
        """Criterion name to weight, for all groups that are not in `of_group`; with alpha="auto", both weigh 0.5.

        Raises:
            CriterionError: the combination of `weights` and `alpha` is invalid.
        """
        alpha, names = self.alpha, list(self.weights) if isinstance(self.weights, (Mapping, list, tuple)) else []
        if alpha is None and isinstance(self.weights, Mapping) and len(names) > 1:
            return self.weights
        if len(names) == 2 and alpha == AUTO_WEIGHT:
            return dict.fromkeys(names, 0.5)
        pair = len(names) == 2 and not isinstance(self.weights, Mapping)
        if pair and isinstance(alpha, (int, float)) and 0 <= alpha <= 1:
            return dict(zip(names, (1 - alpha, float(alpha)), strict=True))
        raise CriterionError(
            'a hybrid needs several criteria with weights, as in Hybrid({"nexp": 0.7, "l1": 0.3}), or two criteria and '
            'an alpha in [0, 1] or "auto", as in Hybrid(("l1", "nexp"), alpha="auto"); '
            f"not weights {self.weights!r} and alpha {alpha!r}"
        )

    @classmethod
    def parse(cls, text: str) -> Hybrid:
        """Create a hybrid from a text; see `name` for the inverse.

        Args:
            text: such as "0.7*nexp+0.3*l1", "rank(0.7*nexp+0.3*l1)" or "auto*l1+auto*nexp".

        Raises:
            CriterionError: the text is not a weighted sum of criteria, or the hybrid is invalid.
        """
        return cls(*read_hybrid(text))

    @property
    def name(self) -> str:
        """The hybrid as text; `parse` creates an equal hybrid from it."""
        weights = dict.fromkeys(self.mix, AUTO_WEIGHT) if self.alpha == AUTO_WEIGHT else self.mix
        return write_hybrid(weights, self.normalize, self.of_group)

    def criterion(self) -> Composite:
        """Create the criterion that computes the weighted sum."""
        return Composite(
            name=self.name,
            parts=tuple(CRITERIA[name] for name in self.mix),
            join=self.join,
            source="NEXP (arXiv 2512.06440), hybrid scores",
            scope=Scope.GLOBAL,
            summary="Weighted sum of normalised scores.",
            untuned=self if self.alpha == AUTO_WEIGHT and not self.of_group else None,
        )

    def join(self, parts: Mapping[str, GroupScores]) -> dict[str, Tensor]:
        """Add the weighted, normalised scores of the criteria.

        Args:
            parts: criterion name to the scores of all groups.

        Returns:
            Group name to scores [units].
        """
        normalize = NORMALIZERS[self.normalize]
        scores = {}
        for group in next(iter(parts.values())):
            weights = self._weights_of(group)
            # Always add in the order of `mix`, because rounding depends on the order of the terms.
            terms = [weights[name] * normalize(parts[name][group]) for name in self.mix]
            scores[group] = torch.stack(terms).sum(0)
        return scores

    def tune(
        self,
        parts: Mapping[str, GroupScores],
        model: nn.Module,
        structure: Structure,
        held_out: Iterable[Any],
        loss: Loss | None = None,
        progress: Progress = silent,
    ) -> Hybrid:
        """Choose the weights of two criteria for each group by the loss on held-out data; see `choose_alphas`.

        Args:
            parts: criterion name to the scores of all groups; two criteria.
            model: the model; it is evaluated and not changed.
            structure: the structure of the model.
            held_out: labelled batches that were not used to compute the scores.
            loss: see `secateurs.score_many`.
            progress: wraps the iteration over the groups.

        Returns:
            A hybrid that has the chosen weights of each group in `of_group`.
        """
        first, second = parts
        scores = {alpha: replace(self, alpha=alpha, weights=(first, second)).join(parts) for alpha in ALPHAS}
        alphas = choose_alphas(scores, model, structure, held_out, loss, progress)
        return replace(self, of_group={name: {first: 1 - alpha, second: alpha} for name, alpha in alphas.items()})

    def tuned_criterion(
        self,
        parts: Mapping[str, GroupScores],
        model: nn.Module,
        structure: Structure,
        held_out: Iterable[Any],
        loss: Loss | None,
        progress: Progress,
    ) -> Composite:
        """Choose the weights with `tune`, and create the criterion; see `Untuned`."""
        return self.tune(parts, model, structure, held_out, loss, progress).criterion()

    def _weights_of(self, group: str) -> Mapping[str, float]:
        """Criterion name to weight in this group."""
        return (self.of_group or {}).get(group, self.mix)
