"""Pruning while a model trains: in a loop of the user's own, or in the training of a recovery."""

from secateurs.pruning.gradual.during_training import prune_during_training
from secateurs.pruning.gradual.gradual import gradual
from secateurs.pruning.gradual.pruner import GradualPruner

__all__ = ["GradualPruner", "gradual", "prune_during_training"]
