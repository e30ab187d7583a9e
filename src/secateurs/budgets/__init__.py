"""Budgets: choose the units to keep from scores, a budget and limits."""

from secateurs.budgets.allocate import allocate
from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.certificate import Certificate
from secateurs.budgets.effective import certificate, certificates, effective_count, effective_counts
from secateurs.budgets.limits import Limits, resolve_limits
from secateurs.budgets.plan import Plan
from secateurs.budgets.quantities import QUANTITIES
from secateurs.budgets.quantity import Quantity, quantity, temporary_quantities
from secateurs.budgets.ramp import Ramp
from secateurs.budgets.removal_order import AllowedWidths
from secateurs.budgets.schedule import Schedule
from secateurs.budgets.scopes import Scope
from secateurs.budgets.top_k import best, number, numbers, parse_share

__all__ = [
    "EFFECTIVE",
    "QUANTITIES",
    "Budget",
    "Certificate",
    "Limits",
    "Plan",
    "Quantity",
    "Ramp",
    "Schedule",
    "Scope",
    "AllowedWidths",
    "allocate",
    "best",
    "certificate",
    "certificates",
    "effective_count",
    "effective_counts",
    "number",
    "numbers",
    "parse_share",
    "quantity",
    "resolve_limits",
    "temporary_quantities",
]
