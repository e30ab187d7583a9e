"""The criteria: one file per family."""

from secateurs.criteria.families import activation, gradient, magnitude, ndi, nexp, obs, random_scores, ssi, wanda
from secateurs.criteria.families.correlation import sampling_error, spectral_gap, varies

__all__ = [
    "activation", "gradient", "magnitude", "ndi", "nexp", "obs", "random_scores", "sampling_error", "spectral_gap",
    "ssi", "varies", "wanda",
]  # fmt: skip
