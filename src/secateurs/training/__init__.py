"""For a training loop of your own: watch units differentiate, and encourage them to."""

from secateurs.training.regularise import DifferentiationLoss, differentiation_loss
from secateurs.training.track import Record, Tracker, track

__all__ = ["DifferentiationLoss", "Record", "Tracker", "differentiation_loss", "track"]
