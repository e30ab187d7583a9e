"""Secateurs: find the redundant neurons of a PyTorch network, remove them physically, and show the evidence."""

from importlib.metadata import version

from secateurs.budgets import Limits, allocate
from secateurs.check import Preflight, check
from secateurs.compensate import Compensation, compensate
from secateurs.costs import Cost, cost
from secateurs.criteria import Hybrid, criterion, score, score_many
from secateurs.depth import LayerRanking, drop_layers, rank_layers
from secateurs.differentiation import ndi_report
from secateurs.errors import SecateursError, SecateursWarning
from secateurs.evaluate import accuracy, harness, mean_loss, perplexity, tokens_per_second
from secateurs.features import FeatureRanking, rank_features
from secateurs.inputs import random_inputs
from secateurs.layerwise import Layerwise
from secateurs.masking import Masked, mask
from secateurs.persist import load
from secateurs.pipeline import Result, prune
from secateurs.plan import Plan
from secateurs.recover import Recovery, finetune, recalibrate
from secateurs.schedule import Schedule
from secateurs.shard import shard
from secateurs.structure import Structure, trace
from secateurs.surgery import apply
from secateurs.text import text_data
from secateurs.training import apply_, carry_optimizer, check_optimizer, differentiation_loss, gradual, track

__version__ = version("secateurs")

__all__ = [
    "Compensation", "Cost", "FeatureRanking", "Hybrid", "LayerRanking", "Layerwise", "Limits", "Masked", "Plan",
    "Preflight", "Recovery", "Result", "Schedule", "SecateursError", "SecateursWarning", "Structure", "accuracy",
    "allocate", "apply", "apply_", "carry_optimizer", "check", "check_optimizer", "compensate", "cost", "criterion",
    "differentiation_loss", "drop_layers", "finetune", "gradual", "harness", "load", "mask", "mean_loss",
    "ndi_report", "perplexity", "prune", "random_inputs", "rank_features", "rank_layers", "recalibrate", "score",
    "score_many", "shard", "text_data", "tokens_per_second", "trace", "track",
]  # fmt: skip
