"""What makes a unit worth keeping: one file per family of criteria, one decorator per criterion."""

from secateurs.criteria import chance, magnitude, nexp
from secateurs.criteria.registry import CRITERIA, Criterion, Evidence, criterion, find
from secateurs.criteria.score import score

__all__ = ["CRITERIA", "Criterion", "Evidence", "chance", "criterion", "find", "magnitude", "nexp", "score"]
