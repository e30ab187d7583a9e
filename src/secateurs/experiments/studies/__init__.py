"""Studies: experiments that measure what pruning criteria can and cannot detect."""

from secateurs.experiments.studies.ablation import run_ablation
from secateurs.experiments.studies.activations import run_activations
from secateurs.experiments.studies.beta import run_beta
from secateurs.experiments.studies.dynamics import run_dynamics
from secateurs.experiments.studies.finding import Finding, make_directory
from secateurs.experiments.studies.hybrid import run_hybrid
from secateurs.experiments.studies.initialisation import run_initialisation
from secateurs.experiments.studies.planted import run_planted
from secateurs.experiments.studies.result import PlantedStudy
from secateurs.experiments.studies.samples import run_samples
from secateurs.experiments.studies.schedule import run_schedule

__all__ = [
    "Finding",
    "PlantedStudy",
    "run_ablation",
    "run_activations",
    "run_beta",
    "run_dynamics",
    "run_hybrid",
    "run_initialisation",
    "make_directory",
    "run_planted",
    "run_samples",
    "run_schedule",
]
