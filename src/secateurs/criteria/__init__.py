"""Criteria: score the units of a model, higher = keep. `families` has one file per family of criteria."""

from secateurs.criteria.collect import collect, memory_of, norms_of, progress_text, requested_statistics
from secateurs.criteria.correlation import sampling_error, spectral_gap, varies
from secateurs.criteria.criterion import AnyCriterion, Composite, Criterion, GroupScores, described, scoring_passes
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.families import load_families
from secateurs.criteria.hybrid import Hybrid
from secateurs.criteria.parse import Named, parse_criterion
from secateurs.criteria.registry import CRITERIA, REVERSED, criterion, temporary_criteria
from secateurs.criteria.request import Request
from secateurs.criteria.score import score, score_many
from secateurs.criteria.scoring import Scoring, join_leaves, warn_of_unscored
from secateurs.criteria.tune import masked_parameters
from secateurs.criteria.weight_view import Sources, Weight

load_families()

__all__ = [
    "CRITERIA",
    "REVERSED",
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
    "join_leaves",
    "masked_parameters",
    "memory_of",
    "norms_of",
    "parse_criterion",
    "progress_text",
    "requested_statistics",
    "sampling_error",
    "score",
    "score_many",
    "scoring_passes",
    "spectral_gap",
    "temporary_criteria",
    "varies",
    "warn_of_unscored",
]
