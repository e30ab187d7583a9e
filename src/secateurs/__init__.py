"""Secateurs: find the redundant neurons of a PyTorch network, remove them physically, and show the evidence."""

from importlib.metadata import version

from secateurs.budgets import Limits, allocate
from secateurs.check import Preflight, check
from secateurs.compensate import Compensation, compensate
from secateurs.costs import Cost, cost
from secateurs.criteria import Hybrid, criterion, score, score_many
from secateurs.data import random_inputs
from secateurs.errors import SecateursError, SecateursWarning
from secateurs.persist import load
from secateurs.pipeline import Result, prune
from secateurs.plan import Plan
from secateurs.recover import finetune, recalibrate
from secateurs.structure import Structure, trace
from secateurs.surgery import apply

__version__ = version("secateurs")

__all__ = [
    "Compensation", "Cost", "Hybrid", "Limits", "Plan", "Preflight", "Result", "SecateursError", "SecateursWarning",
    "Structure", "allocate", "apply", "check", "compensate", "cost", "criterion", "finetune", "load", "prune",
    "random_inputs", "recalibrate", "score", "score_many", "trace",
]  # fmt: skip
