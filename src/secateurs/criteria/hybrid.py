"""Hybrids: weighted sums of the normalised scores of several criteria."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import Scope
from secateurs.criteria.criterion import Composite, GroupScores
from secateurs.criteria.normalizers import MEAN, NORMALIZERS
from secateurs.criteria.registry import CRITERIA
from secateurs.criteria.tune import ALPHAS, choose_alphas
from secateurs.data import Loss
from secateurs.errors import CriterionError
from secateurs.structure import Structure
from secateurs.utils import Progress, silent

AUTO = "auto"
"""The `alpha` and weight that stand for weights chosen by the loss."""


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A weighted sum of criteria. The scores of each criterion are normalised within each group first.

    Source: NEXP (arXiv 2512.06440) uses α·NEXP + (1 − α)·importance and divides both terms by the mean of the layer.
    Two hybrids are equal if they have the same name.

    Attributes:
        weights: criterion name to weight; weights are ≥ 0 and not all zero. Or two names, if `alpha` is given.
        normalize: "mean" divides scores by the mean magnitude of the group, as the paper does; "rank" replaces scores
            by relative ranks; "robust-z" replaces scores by distances from the median in median absolute deviations.
        alpha: the weight of the second of two criteria, in [0, 1]; the first has the weight 1 − α. "auto" chooses an α
            for each group by the loss on every second batch of the data.
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
            numbers = isinstance(weights, Mapping) and set(weights) == set(self.mix)
            numbers = numbers and all(isinstance(w, (int, float)) and 0 <= w < math.inf for w in weights.values())
            if not numbers or not any(weights.values()):
                raise CriterionError(f"the weights of a hybrid must be numbers ≥ 0, not all zero: {dict(weights)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hybrid) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def mix(self) -> Mapping[str, float]:
        """Criterion name to weight, for all groups that are not in `of_group`.

        Raises:
            CriterionError: `weights` and `alpha` do not fit together.
        """
        names = list(self.weights) if isinstance(self.weights, (Mapping, list, tuple)) else []
        if self.alpha is None and isinstance(self.weights, Mapping) and len(names) > 1:
            return self.weights
        if len(names) == 2 and self.alpha == AUTO:
            return dict.fromkeys(names, 0.5)
        share = self.alpha if isinstance(self.alpha, (int, float)) and not isinstance(self.weights, Mapping) else -1
        if len(names) == 2 and 0 <= share <= 1:
            return dict(zip(names, (1 - share, float(share)), strict=True))
        raise CriterionError(
            'a hybrid needs several criteria with weights, as in Hybrid({"nexp": 0.7, "l1": 0.3}), or two criteria and '
            'an alpha in [0, 1] or "auto", as in Hybrid(("l1", "nexp"), alpha="auto"); '
            f"not weights {self.weights!r} and alpha {self.alpha!r}"
        )

    @classmethod
    def parse(cls, text: str) -> Hybrid:
        """Read the `name` of a hybrid.

        Args:
            text: such as "0.7*nexp+0.3*l1", "rank(0.7*nexp+0.3*l1)" or "auto*l1+auto*nexp".

        Raises:
            CriterionError: the text is not a weighted sum of criteria.
        """
        whole, _, groups = text.partition("@")
        match = re.fullmatch(r"\s*([a-z-]+)\s*\((.*)\)\s*", whole)
        normalize, total = match.groups() if match else (MEAN, whole)
        terms = [[part.strip() for part in term.split("*")] for term in total.split("+")]
        try:
            of_group = json.loads(groups) if groups else None
            if all(len(term) == 2 and term[0] == AUTO for term in terms):
                return cls([name for _, name in terms], normalize, AUTO, of_group)
            weights = {name: float(number) for number, name in terms}
        except ValueError:
            raise CriterionError(f"{text!r} is not a sum of weighted criteria such as 0.7*nexp+0.3*l1") from None
        return cls(weights, normalize, None, of_group)

    @property
    def name(self) -> str:
        """The hybrid as a text that `parse` can read."""
        auto = self.alpha == AUTO
        total = "+".join(f"{AUTO if auto else _number(weight)}*{name}" for name, weight in self.mix.items())
        text = total if self.normalize == MEAN else f"{self.normalize}({total})"
        return f"{text}@{json.dumps(self.of_group, sort_keys=True)}" if self.of_group else text

    def criterion(self) -> Composite:
        """The hybrid as a criterion."""
        return Composite(
            name=self.name,
            parts=tuple(CRITERIA[name] for name in self.mix),
            join=self.join,
            source="NEXP (arXiv 2512.06440), hybrid scores",
            scope=Scope.GLOBAL,
            summary="Weighted sum of normalised scores.",
            untuned=self if self.alpha == AUTO and not self.of_group else None,
        )

    def join(self, parts: Mapping[str, GroupScores]) -> dict[str, Tensor]:
        """Add the weighted, normalised scores of the criteria.

        Args:
            parts: criterion name to the scores of all groups.

        Returns:
            Group name to scores [units].
        """
        normalized = NORMALIZERS[self.normalize]
        scores = {}
        for group in next(iter(parts.values())):
            weights = self._weights_of(group)
            # `mix` fixes the order of the terms, and so the rounding of the sum.
            terms = [weights[name] * normalized(parts[name][group]) for name in self.mix]
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
        """Choose the weights of two criteria for each group by the loss; see `choose_alphas`.

        Args:
            parts: criterion name to the scores of all groups, for two criteria.
            model: see `choose_alphas`.
            structure: see `choose_alphas`.
            held_out: see `choose_alphas`.
            loss: see `choose_alphas`.
            progress: see `choose_alphas`.

        Returns:
            A hybrid with weights for each group in `of_group`.
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
        """The result of `tune` as a criterion; see `Untuned`."""
        return self.tune(parts, model, structure, held_out, loss, progress).criterion()

    def _weights_of(self, group: str) -> Mapping[str, float]:
        return (self.of_group or {}).get(group, self.mix)


def _number(weight: float) -> str:
    """The shortest text that parses to the same number; no plus sign, because it separates the terms."""
    text = f"{weight:g}"
    return (text if float(text) == weight else repr(float(weight))).replace("e+", "e")
