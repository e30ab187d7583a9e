"""Studies: what criteria can and cannot see, measured."""

from secateurs.experiments.studies.ablation import ablation
from secateurs.experiments.studies.activations import activations
from secateurs.experiments.studies.beta import beta
from secateurs.experiments.studies.dynamics import dynamics
from secateurs.experiments.studies.finding import Finding, made
from secateurs.experiments.studies.hybrid import hybrid
from secateurs.experiments.studies.initialisation import initialisation
from secateurs.experiments.studies.planted import run
from secateurs.experiments.studies.result import Study
from secateurs.experiments.studies.samples import samples
from secateurs.experiments.studies.schedule import schedule

__all__ = [
    "Finding",
    "Study",
    "ablation",
    "activations",
    "beta",
    "dynamics",
    "hybrid",
    "initialisation",
    "made",
    "run",
    "samples",
    "schedule",
]
