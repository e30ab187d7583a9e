"""For a training loop of your own: watch units differentiate, encourage them to, and prune meanwhile."""

from secateurs.training.carry import apply_, carry_optimizer, check_optimizer
from secateurs.training.gradual import gradual
from secateurs.training.pruner import GradualPruner
from secateurs.training.regularise import DifferentiationLoss, differentiation_loss
from secateurs.training.track import Record, Tracker, track

__all__ = [
    "DifferentiationLoss", "GradualPruner", "Record", "Tracker", "apply_", "carry_optimizer", "check_optimizer",
    "differentiation_loss", "gradual", "track",
]  # fmt: skip
