"""One folder or file for each way of pruning."""

from secateurs.pruning.config import PruningConfig, PruningOptions
from secateurs.pruning.input_features import FeatureRanking, rank_features
from secateurs.pruning.ndi_report import ndi_report
from secateurs.pruning.preflight import Preflight, check
from secateurs.pruning.prune import prune
from secateurs.pruning.result import Result
from secateurs.pruning.step import StepResult, prune_step

__all__ = [
    "FeatureRanking",
    "PruningConfig",
    "PruningOptions",
    "StepResult",
    "Preflight",
    "Result",
    "check",
    "prune_step",
    "ndi_report",
    "prune",
    "rank_features",
]
