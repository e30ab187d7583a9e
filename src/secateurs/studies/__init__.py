"""Studies: what criteria can and cannot see, measured."""

from secateurs.studies.planted import run
from secateurs.studies.result import Study, made

__all__ = ["Study", "made", "run"]
