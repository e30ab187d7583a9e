"""`Run`: a directory that stores the settings and every finished stage of a pruning run, so that it can be resumed."""

from secateurs.pruning.run.directory import Run

__all__ = ["Run"]
