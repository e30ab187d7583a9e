"""Budgets: how much of the dense model is kept, in the form that users write."""

from __future__ import annotations

from dataclasses import dataclass

from secateurs.budgets.quantity import QUANTITIES
from secateurs.errors import BudgetError

EFFECTIVE = "effective"
"""The budget that keeps the effective number of units by EMP (arXiv 2509.25606), times an optional factor."""


@dataclass(frozen=True)
class Budget:
    """How much of the dense model is kept: at most a fraction of a quantity, or the effective number of units.

    Attributes:
        quantity: the name of a quantity, such as "keep" (units), "macs" or "params"; or "effective".
        fraction: the fraction of the dense model's amount that is kept, in (0, 1]; for "effective", the factor β > 0.

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
            BudgetError: the text is no budget; the message lists the forms.
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
                f'budget {text!r} is not one of {forms}, with the fraction F in (0, 1] that is kept, as in "macs:0.5"; '
                f'or "{EFFECTIVE}", or "{EFFECTIVE}:B" with a factor B > 0'
            )
        return cls(quantity, fraction)

    def __str__(self) -> str:
        if self.quantity == EFFECTIVE and self.fraction == 1:
            return EFFECTIVE
        return f"{self.quantity}:{repr(float(self.fraction)).removesuffix('.0')}"
