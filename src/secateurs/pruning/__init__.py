"""Pruning: one folder or file for each way to prune a model."""

from secateurs.pruning.config import PruningConfig, PruningOptions
from secateurs.pruning.input_features import FeatureRanking, rank_features
from secateurs.pruning.ndi_report import ndi_report
from secateurs.pruning.preflight import Preflight, check
from secateurs.pruning.prune import prune
from secateurs.pruning.result import Result
from secateurs.pruning.step import StepResult, prune_step

__all__ = [
    "FeatureRanking",
    "Preflight",
    "PruningConfig",
    "PruningOptions",
    "Result",
    "StepResult",
    "check",
    "ndi_report",
    "prune",
    "prune_step",
    "rank_features",
]
