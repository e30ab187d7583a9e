"""One folder or file for each way of pruning."""

from secateurs.pruning.input_features import FeatureRanking, rank_features
from secateurs.pruning.ndi_report import ndi_report
from secateurs.pruning.preflight import Preflight, check
from secateurs.pruning.prune import Result, prune
from secateurs.pruning.step import Further, cut_further

__all__ = [
    "FeatureRanking",
    "Further",
    "Preflight",
    "Result",
    "check",
    "cut_further",
    "ndi_report",
    "prune",
    "rank_features",
]
