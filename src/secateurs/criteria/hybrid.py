"""Hybrids: weighted sums of criteria, whose scores are normalised first."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import Scope
from secateurs.criteria.criterion import Composite, GroupScores
from secateurs.criteria.registry import CRITERIA
from secateurs.criteria.tune import ALPHAS, choose_alphas
from secateurs.data import Loss
from secateurs.errors import CriterionError
from secateurs.structure import Structure
from secateurs.utils import Progress, silent

AUTO = "auto"
MEAN = "mean"


def _rank(scores: Tensor) -> Tensor:
    """The share of the group that a unit stands above, in (0, 1); equal scores share their ranks."""
    _, position, counts = scores.unique(return_inverse=True, return_counts=True)
    return ((counts.cumsum(0) - counts / 2) / len(scores))[position].to(scores)


def _relative(scores: Tensor) -> Tensor:
    mean = scores.abs().mean()
    return scores / mean if mean > 0 else scores


def robust_z(scores: Tensor, floor: float = 1e-12) -> Tensor:
    """Distance from the median in units of 1.4826 × the median absolute deviation (NDI, Eq. 12-13)."""
    median = scores.quantile(0.5)
    deviation = (scores - median).abs().quantile(0.5)
    return (scores - median) / (1.4826 * deviation + floor)


NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {MEAN: _relative, "rank": _rank, "robust-z": robust_z}
"""The ways to make the scores of one group comparable with those of another criterion."""


@dataclass(frozen=True, eq=False)
class Hybrid:
    """A weighted sum of criteria, each normalised within every group.

    NEXP (arXiv 2512.06440) mixes α·NEXP + (1 − α)·importance, each divided by the mean of its layer. Two hybrids are
    equal if their names are.

    Attributes:
        weights: criterion name to weight, all ≥ 0 and not all zero; or two names, with `alpha`.
        normalize: "mean" divides by the group's mean magnitude, as the paper does; "rank" takes ranks; "robust-z"
            takes distances from the median in median absolute deviations.
        alpha: the weight of the second of two criteria, in [0, 1]; that of the first is 1 − α. "auto" chooses an α
            for every group by the loss on every second batch of the data.
        of_group: the weights of single groups, by group name, where they differ from `weights`.

    Raises:
        CriterionError: a criterion is unknown, or a weight or the normaliser cannot be used.

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
            raise CriterionError(f"normaliser {self.normalize!r} is none of {', '.join(NORMALIZERS)}")
        for name in self.mix:
            if name not in CRITERIA:
                raise CriterionError(f"a hybrid cannot be made of {name!r}; there are: {', '.join(sorted(CRITERIA))}")
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
        """Criterion name to weight, for all groups that have no weights of their own."""
        names = list(self.weights) if isinstance(self.weights, (Mapping, list, tuple)) else []
        if self.alpha is None and isinstance(self.weights, Mapping) and len(names) > 1:
            return self.weights
        if len(names) == 2 and self.alpha == AUTO:
            return dict.fromkeys(names, 0.5)
        share = self.alpha if isinstance(self.alpha, (int, float)) and not isinstance(self.weights, Mapping) else -1
        if len(names) == 2 and 0 <= share <= 1:
            return dict(zip(names, (1 - share, float(share)), strict=True))
        raise CriterionError(
            'a hybrid is several criteria with weights, as in Hybrid({"nexp": 0.7, "l1": 0.3}), or two and an alpha in '
            f'[0, 1] or "auto", as in Hybrid(("l1", "nexp"), alpha="auto"); not {self.weights!r} and {self.alpha!r}'
        )

    @classmethod
    def parse(cls, text: str) -> Hybrid:
        """Read the `name` of a hybrid: "0.7*nexp+0.3*l1", "rank(0.7*nexp+0.3*l1)" or "auto*l1+auto*nexp".

        Raises:
            CriterionError: the text is no such sum.
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
        """The hybrid as text, which `parse` reads."""
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
        """The weighted sums, from the scores of each criterion."""
        normal = NORMALIZERS[self.normalize]
        scores = {}
        for group in next(iter(parts.values())):
            weights = self._of(group)
            terms = [weights[name] * normal(parts[name][group]) for name in self.mix]  # one order: sums round alike
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
        """The hybrid with weights of its two criteria for every group; see `choose_alphas`.

        Args:
            parts: the scores of the two criteria.
            model, structure, held_out, loss, progress: see `choose_alphas`.
        """
        one, other = parts
        scores = {alpha: replace(self, alpha=alpha, weights=(one, other)).join(parts) for alpha in ALPHAS}
        alphas = choose_alphas(scores, model, structure, held_out, loss, progress)
        return replace(self, of_group={name: {one: 1 - alpha, other: alpha} for name, alpha in alphas.items()})

    def tuned_criterion(
        self,
        parts: Mapping[str, GroupScores],
        model: nn.Module,
        structure: Structure,
        held_out: Iterable[Any],
        loss: Loss | None,
        progress: Progress,
    ) -> Composite:
        """The criterion of the hybrid that `tune` gives."""
        return self.tune(parts, model, structure, held_out, loss, progress).criterion()

    def _of(self, group: str) -> Mapping[str, float]:
        return (self.of_group or {}).get(group, self.mix)


def _number(weight: float) -> str:
    """The shortest text that reads back as the same number, without a plus sign."""
    text = f"{weight:g}"
    return (text if float(text) == weight else repr(float(weight))).replace("e+", "e")
