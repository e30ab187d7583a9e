"""What makes a unit worth keeping: one file per family of criteria, one decorator per criterion."""

from secateurs.criteria import families
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.find import Named, find
from secateurs.criteria.gather import gather, memory_of
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.registry import CRITERIA, SCOPES, AnyCriterion, Composite, Criterion, criterion, described
from secateurs.criteria.score import score, score_many
from secateurs.criteria.weight import Request, Weight

__all__ = [
    "AnyCriterion", "CRITERIA", "Composite", "Criterion", "Evidence", "Hybrid", "Named", "Request", "SCOPES", "Weight",
    "criterion", "described", "families", "find", "gather", "memory_of", "score", "score_many",
]  # fmt: skip
