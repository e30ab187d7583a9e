"""Hybrids: weighted sums of criteria, made comparable first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateurs.criteria.criterion import Composite, GroupScores
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError


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


NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _relative, "rank": _rank, "robust-z": robust_z}
"""How the scores of one group are made comparable with those of another criterion."""


@dataclass(frozen=True)
class Hybrid:
    """A weighted sum of criteria, each normalised within every group.

    NEXP (arXiv 2512.06440) mixes α·NEXP + (1 − α)·importance, each divided by the mean of its layer.

    Attributes:
        weights: criterion name to weight, weights ≥ 0 that are not all zero; or two names, with `alpha`.
        normalize: "mean" divides by the group's mean magnitude, as the paper does; "rank" takes ranks; "robust-z"
            distances from the median in median absolute deviations.
        alpha: of two criteria, the weight of the second, in [0, 1]; that of the first is 1 − α. "auto" chooses an α
            for every group by the loss on every second batch of the data; see `tune`.
        of_group: for some groups, other weights than these.

    Raises:
        CriterionError: a criterion is unknown, or a weight or the normaliser cannot be used.
    """

    weights: Mapping[str, float] | Sequence[str]
    normalize: str = "mean"
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

    @property
    def mix(self) -> Mapping[str, float]:
        """Criterion name to weight, for all groups that have none of their own."""
        if isinstance(self.weights, Mapping) and len(self.weights) > 1 and self.alpha in (None, "auto"):
            return self.weights
        if isinstance(self.weights, (list, tuple)) and len(self.weights) == 2:
            if self.alpha == "auto":
                return dict.fromkeys(self.weights, 0.5)
            if isinstance(self.alpha, (int, float)) and 0 <= self.alpha <= 1:
                return dict(zip(self.weights, (1 - self.alpha, float(self.alpha)), strict=True))
        raise CriterionError(
            'a hybrid is several criteria with weights, as in Hybrid({"nexp": 0.7, "l1": 0.3}), or two and an alpha in '
            f'[0, 1] or "auto", as in Hybrid(("l1", "nexp"), alpha="auto"); not {self.weights!r} and {self.alpha!r}'
        )

    @classmethod
    def parse(cls, text: str) -> Hybrid:
        """Read "0.7*nexp+0.3*l1", or "auto*l1+auto*nexp".

        Raises:
            CriterionError: the text is no such sum.
        """
        weights: dict[str, float] = {}
        terms = [[part.strip() for part in term.split("*")] for term in text.split("+")]
        if all(term[0] == "auto" and len(term) == 2 for term in terms):
            return cls([name for _, name in terms], alpha="auto")
        for term in terms:
            number, name = term if len(term) == 2 else ("", "")
            try:
                weights[name] = float(number)
            except ValueError:
                raise CriterionError(f"{text!r} is not a sum of weighted criteria such as 0.7*nexp+0.3*l1") from None
        return cls(weights)

    @property
    def name(self) -> str:
        """As it is written."""
        if self.alpha == "auto":
            return "+".join(f"auto*{name}" for name in self.mix)
        return "+".join(f"{weight:g}*{name}" for name, weight in self.mix.items())

    def criterion(self) -> Composite:
        """The criterion that it is."""
        return Composite(
            name=self.name,
            parts=tuple(CRITERIA[name] for name in self.mix),
            join=self.join,
            source="NEXP (arXiv 2512.06440), hybrid scores",
            scope="global",
            summary="Weighted sum of normalised scores.",
            untuned=self if self.alpha == "auto" and self.of_group is None else None,
        )

    def join(self, parts: Mapping[str, GroupScores]) -> dict[str, Tensor]:
        """The weighted sums, from the scores of each criterion."""
        normal = NORMALIZERS[self.normalize]
        return {
            group: torch.stack([w * normal(parts[name][group]) for name, w in self._of(group).items()]).sum(0)
            for group in next(iter(parts.values()))
        }

    def _of(self, group: str) -> Mapping[str, float]:
        return (self.of_group or {}).get(group, self.mix)
