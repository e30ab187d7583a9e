"""Budgets: how scores become the units that are kept."""

from secateurs.budgets.allocate import allocate
from secateurs.budgets.budget import EFFECTIVE, QUANTITIES, Budget
from secateurs.budgets.effective import certificate, certificates, effective_count, effective_counts
from secateurs.budgets.ladder import Takes
from secateurs.budgets.limits import Limits, settled

__all__ = [
    "EFFECTIVE", "QUANTITIES", "Budget", "Limits", "Takes", "allocate", "certificate", "certificates",
    "effective_count", "effective_counts", "settled",
]  # fmt: skip
