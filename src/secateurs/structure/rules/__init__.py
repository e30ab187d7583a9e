"""How axes flow through operators, one short function per family of operators."""

from secateurs.structure.rules import (  # noqa: F401  importing them registers their rules
    attention,
    contraction,
    lookup,
    norms,
    pointwise,
    recurrent,
    reductions,
    shapes,
)
from secateurs.structure.rules.registry import ACTIVATIONS, AFFINE, MOVES, RELAYS, RULES, name_of, rule

__all__ = ["ACTIVATIONS", "AFFINE", "MOVES", "RELAYS", "RULES", "name_of", "rule"]
