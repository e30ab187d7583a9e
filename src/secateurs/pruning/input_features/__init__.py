"""Feature selection: score the entries of a model's input, such as pixels, and choose those to keep."""

from secateurs.pruning.input_features.feature_ranking import FeatureRanking
from secateurs.pruning.input_features.rank import rank_features

__all__ = ["FeatureRanking", "rank_features"]
