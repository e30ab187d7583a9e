"""Certificates: the evidence for an effective number of components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True)
class Certificate:
    """The evidence for an effective number of components (EMP, arXiv 2509.25606).

    Attributes:
        components: the number of components, N.
        n_eff: N_eff = 1 / Σ ω², where ω are the magnitudes of the scores divided by their sum.
        cv: the coefficient of variation of the magnitudes; N / N_eff = 1 + CV² for any scores.
        beta: the factor β of the budget.
        kept: the number of kept components, ν, within the limits.
        mass: the kept share of the sum of magnitudes.
        bound: a lower bound of `mass` for this N and ν = ⌊N_eff⌋ (Prop. 1). None if the proposition does not apply:
            for ν < 2, ν = N or β ≠ 1, or if limits changed ν.
        sharper_bound: the same bound with N_eff in place of ν + 1; None if the proposition does not apply.
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
