"""How much to keep: budgets, limits, and the allocation that turns scores into a plan."""

from secateurs.budgets.allocate import allocate
from secateurs.budgets.budget import QUANTITIES, Budget
from secateurs.budgets.limits import Limits

__all__ = ["QUANTITIES", "Budget", "Limits", "allocate"]
