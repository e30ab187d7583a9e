"""Studies: what criteria can and cannot see, measured."""

from secateurs.studies.finding import Finding
from secateurs.studies.planted import run
from secateurs.studies.result import Study

__all__ = ["Finding", "Study", "run"]
