"""Hybrids: weighted sums of criteria, made comparable first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor

from secateurs.criteria.registry import CRITERIA, Composite, GroupScores
from secateurs.errors import CriterionError


def _rank(scores: Tensor) -> Tensor:
    """The share of the group that a unit stands above, in (0, 1); equal scores share their ranks."""
    return (torch.as_tensor(rankdata(scores.numpy())) - 0.5) / len(scores)


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
        weights: criterion name to weight; several criteria, weights ≥ 0 that are not all zero.
        normalize: "mean" divides by the group's mean magnitude, as the paper does; "rank" takes ranks; "robust-z"
            distances from the median in median absolute deviations.
        of_group: for some groups, other weights than these; see `tune`.

    Raises:
        CriterionError: a criterion is unknown, or a weight or the normaliser cannot be used.
    """

    weights: Mapping[str, float]
    normalize: str = "mean"
    of_group: Mapping[str, Mapping[str, float]] | None = None

    def __post_init__(self):
        if not isinstance(self.weights, Mapping) or len(self.weights) < 2:
            raise CriterionError(
                f'a hybrid needs several criteria with weights, as in {{"nexp": 0.7, "l1": 0.3}}, not {self.weights!r}'
            )
        if self.normalize not in NORMALIZERS:
            raise CriterionError(f"normaliser {self.normalize!r} is none of {', '.join(NORMALIZERS)}")
        for name in self.weights:
            if name not in CRITERIA:
                raise CriterionError(f"a hybrid cannot be made of {name!r}; there are: {', '.join(sorted(CRITERIA))}")
        for weights in (self.weights, *(self.of_group or {}).values()):
            if set(weights) != set(self.weights):
                raise CriterionError(f"the weights {dict(weights)} are not for {', '.join(self.weights)}")
            if not all(isinstance(w, (int, float)) and 0 <= w < float("inf") for w in weights.values()) or not any(
                weights.values()
            ):
                raise CriterionError(f"the weights of a hybrid must be numbers ≥ 0, not all zero: {dict(weights)}")

    @classmethod
    def parse(cls, text: str) -> Hybrid:
        """Read "0.7*nexp+0.3*l1".

        Raises:
            CriterionError: the text is no such sum.
        """
        weights: dict[str, float] = {}
        for term in text.split("+"):
            number, _, name = (part.strip() for part in term.partition("*"))
            try:
                weights[name] = float(number)
            except ValueError:
                raise CriterionError(f"{text!r} is not a sum of weighted criteria such as 0.7*nexp+0.3*l1") from None
        return cls(weights)

    @property
    def name(self) -> str:
        """As it is written."""
        return "+".join(f"{weight:g}*{name}" for name, weight in self.weights.items())

    def criterion(self) -> Composite:
        """The criterion that it is."""
        parts = tuple(CRITERIA[name] for name in self.weights)
        return Composite(
            name=self.name,
            parts=parts,
            join=self._join,
            source="NEXP (arXiv 2512.06440), hybrid scores",
            comparable=True,
            summary="Weighted sum of normalised scores.",
        )

    def _join(self, parts: Mapping[str, GroupScores]) -> GroupScores:
        normal = NORMALIZERS[self.normalize]
        joined = {}
        for group in next(iter(parts.values())):
            weights = (self.of_group or {}).get(group, self.weights)
            joined[group] = torch.stack([w * normal(parts[name][group]) for name, w in weights.items()]).sum(0)
        return joined
