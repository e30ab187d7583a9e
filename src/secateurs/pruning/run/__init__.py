"""A run as a directory that survives the process: what was asked for, and every finished stage."""

from secateurs.pruning.run.directory import Run

__all__ = ["Run"]
