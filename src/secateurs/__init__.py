"""Secateurs: find the redundant neurons of a PyTorch network, remove them physically, and show the evidence."""

from importlib.metadata import version

from secateurs.budgets import Limits, Plan, Schedule, allocate, quantity
from secateurs.criteria import Hybrid, criterion, score, score_many
from secateurs.data import random_inputs, shard
from secateurs.errors import SecateursError, SecateursWarning
from secateurs.evaluate import accuracy, harness, mean_loss, perplexity, tokens_per_second
from secateurs.huggingface.text import text_data
from secateurs.persist import export, export_format, load
from secateurs.pruning import FeatureRanking, Preflight, PruningConfig, Result, check, ndi_report, prune, rank_features
from secateurs.pruning.depth import LayerRanking, drop_layers, rank_layers
from secateurs.pruning.gradual import gradual
from secateurs.pruning.layerwise import Layerwise
from secateurs.pruning.unstructured import Masked, mask
from secateurs.structure import Cost, Structure, cost, rule, trace
from secateurs.surgery import Compensation, apply, apply_, carry_optimizer, check_optimizer, compensate
from secateurs.training import Recovery, differentiation_loss, finetune, recalibrate, track

__version__ = version("secateurs")

__all__ = [
    "Compensation", "Cost", "FeatureRanking", "Hybrid", "LayerRanking", "Layerwise", "Limits", "Masked", "Plan",
    "Preflight", "PruningConfig", "Recovery", "Result", "Schedule", "SecateursError", "SecateursWarning", "Structure",
    "accuracy", "allocate", "apply", "apply_", "carry_optimizer", "check", "check_optimizer", "compensate", "cost",
    "criterion", "differentiation_loss", "drop_layers", "export", "export_format", "finetune", "gradual", "harness",
    "load", "mask", "mean_loss", "ndi_report", "perplexity", "prune", "quantity", "random_inputs", "rank_features",
    "rank_layers", "recalibrate", "rule", "score", "score_many", "shard", "text_data", "tokens_per_second", "trace",
    "track",
]  # fmt: skip
