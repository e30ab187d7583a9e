"""Budgets: what is to be left of a model, as users write it."""

from __future__ import annotations

from dataclasses import dataclass

from secateurs.errors import BudgetError
from secateurs.structure import Cost

QUANTITIES = {
    "keep": "units of all groups",
    "macs": "multiply-accumulate operations of the model",
    "params": "parameters of the model",
}

EFFECTIVE = "effective"
"""As many units as there are effective ones, by EMP (arXiv 2509.25606), times a factor that is 1 if not given."""


@dataclass(frozen=True)
class Budget:
    """Keep at most this fraction of a quantity, or as many units as are effective.

    Attributes:
        quantity: "keep" (units), "macs", "params" or "effective".
        fraction: in (0, 1], of the dense model's; for "effective", the factor β > 0.
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

    def amount(self, cost: Cost, units: int) -> int:
        """The quantity that the budget is about, of a model with this cost and this many units in its groups."""
        return {"keep": units, "macs": cost.macs, "params": cost.params}[self.quantity]

    def __str__(self) -> str:
        if self.quantity == EFFECTIVE and self.fraction == 1:
            return EFFECTIVE
        return f"{self.quantity}:{repr(float(self.fraction)).removesuffix('.0')}"
