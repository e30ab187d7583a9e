"""The criteria: one file per family."""

from secateurs.criteria.families import activation, chance, gradient, magnitude, ndi, nexp, obs, operand, ssi

__all__ = ["activation", "chance", "gradient", "magnitude", "ndi", "nexp", "obs", "operand", "ssi"]
