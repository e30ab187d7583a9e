"""TODO"""

from secateurs.pruning.gradual.gradual import gradual
from secateurs.pruning.gradual.pruner import GradualPruner

__all__ = ["GradualPruner", "gradual"]
