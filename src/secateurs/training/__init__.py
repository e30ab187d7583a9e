"""Training: fine-tuning by a recipe, recalibration of batch norm, and tracking and regularisation of units."""

from secateurs.training.differentiation_loss import DifferentiationLoss, differentiation_loss
from secateurs.training.epoch_seed import randomness
from secateurs.training.finetune import check_training, finetune
from secateurs.training.optimizer import MakeOptimizer, make_optimizer
from secateurs.training.recalibrate import recalibrate, tracking_norms
from secateurs.training.recipe import Recovery
from secateurs.training.recover import Fit, recover
from secateurs.training.track import Record, Tracker, track

__all__ = [
    "DifferentiationLoss",
    "Fit",
    "MakeOptimizer",
    "Record",
    "Recovery",
    "Tracker",
    "check_training",
    "differentiation_loss",
    "finetune",
    "make_optimizer",
    "randomness",
    "recalibrate",
    "recover",
    "track",
    "tracking_norms",
]
