"""Budgets as text: the amount of the dense model to keep, such as "macs:0.5"."""

from __future__ import annotations

from dataclasses import dataclass

from secateurs.budgets.quantity import QUANTITIES
from secateurs.errors import BudgetError

EFFECTIVE = "effective"
"""The budget that keeps the effective number of units (EMP, arXiv 2509.25606), times an optional factor."""


@dataclass(frozen=True)
class Budget:
    """The amount of the dense model to keep: at most a fraction of a quantity, or the effective number of units.

    Attributes:
        quantity: the name of a quantity, such as "keep" (units), "macs" or "params"; or "effective".
        fraction: the fraction of the dense model's amount to keep, in (0, 1]; for "effective", the factor β > 0.

    Example:
        >>> from secateurs.budgets import Budget
        >>> budget = Budget.parse("macs:0.5")
        >>> budget.quantity, budget.fraction
        ('macs', 0.5)
        >>> str(budget)
        'macs:0.5'
    """

    quantity: str
    fraction: float

    @classmethod
    def parse(cls, text: str | Budget) -> Budget:
        """Read a budget such as "macs:0.5"; a `Budget` is returned unchanged.

        Raises:
            BudgetError: the text is not a valid budget; the message lists the valid forms.
        """
        if isinstance(text, Budget):
            return text
        quantity, _, number = str(text).partition(":")
        try:
            fraction = 1.0 if text == EFFECTIVE else float(number)
        except ValueError:
            fraction = float("nan")
        most = float("inf") if quantity == EFFECTIVE else 1
        if quantity not in (*QUANTITIES, EFFECTIVE) or not 0 < fraction <= most or fraction == float("inf"):
            forms = ", ".join(f'"{name}:F"' for name in QUANTITIES)
            raise BudgetError(
                f"invalid budget {text!r}; give one of {forms} with the fraction F in (0, 1] to keep, such as "
                f'"macs:0.5"; or "{EFFECTIVE}"; or "{EFFECTIVE}:B" with a factor B > 0'
            )
        return cls(quantity, fraction)

    def __str__(self) -> str:
        if self.quantity == EFFECTIVE and self.fraction == 1:
            return EFFECTIVE
        return f"{self.quantity}:{repr(float(self.fraction)).removesuffix('.0')}"
