"""Recovery after a cut: batch norm recalibration and fine-tuning."""

from secateurs.recover.epochs import randomness
from secateurs.recover.finetune import check_training, finetune
from secateurs.recover.history import History
from secateurs.recover.objective import ExtraLoss
from secateurs.recover.recalibrate import recalibrate, tracking_norms
from secateurs.recover.recipe import Recovery
from secateurs.recover.recover import Fit, recover

__all__ = [
    "ExtraLoss", "Fit", "History", "Recovery", "check_training", "finetune", "randomness", "recalibrate", "recover",
    "tracking_norms",
]  # fmt: skip
