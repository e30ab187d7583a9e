"""The evidence that an effective number of components rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True)
class Certificate:
    """What the choice of the effective number of components rests on.

    Attributes:
        components: how many there are, N.
        n_eff: 1 / Σ ω², with ω the scores' magnitudes divided by their sum.
        cv: the coefficient of variation of the scores' magnitudes; N / N_eff = 1 + CV², whatever the scores are of.
        beta: the factor asked for.
        kept: how many are kept, ν (after limits, where there are any).
        mass: the share of the scores' magnitudes that is kept.
        bound: the least that mass can be for this N and ν = ⌊N_eff⌋ (Prop. 1); None where the proposition says nothing
            (ν < 2, ν = N, β ≠ 1, limits).
        sharper_bound: the same for the actual N_eff.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    components: int
    n_eff: float
    cv: float
    beta: float
    kept: int
    mass: float
    bound: float | None
    sharper_bound: float | None

    def __str__(self) -> str:
        bound = "" if self.bound is None else f" (at least {self.bound:.1%} by Prop. 1)"
        return (
            f"{self.kept} of {self.components} kept: N_eff {self.n_eff:.1f} × β {self.beta:g}, CV {self.cv:.2f}, "
            f"{self.mass:.1%} of the scores{bound}"
        )
