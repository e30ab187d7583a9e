"""What makes a unit worth keeping: one file per family of criteria, one decorator per criterion."""

from secateurs.criteria.collect import collect, gather, memory_of, norms_of, progress_text, requested_statistics
from secateurs.criteria.criterion import AnyCriterion, Composite, Criterion, GroupScores, described
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.parse import REVERSED, Named, parse_criterion
from secateurs.criteria.registry import CRITERIA, criterion
from secateurs.criteria.score import Scoring, joined, report, score, score_many
from secateurs.criteria.synflow import ROUNDS
from secateurs.criteria.tune import masked
from secateurs.criteria.weight_view import Request, Sources, Weight

__all__ = [
    "CRITERIA",
    "REVERSED",
    "ROUNDS",
    "AnyCriterion",
    "Composite",
    "Criterion",
    "Evidence",
    "GroupScores",
    "Hybrid",
    "Named",
    "Request",
    "Scoring",
    "Sources",
    "Weight",
    "collect",
    "criterion",
    "described",
    "parse_criterion",
    "gather",
    "joined",
    "masked",
    "memory_of",
    "norms_of",
    "progress_text",
    "report",
    "score",
    "score_many",
    "requested_statistics",
]
