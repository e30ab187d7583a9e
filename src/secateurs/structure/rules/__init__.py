"""How axes flow through operators, one short function per family of operators."""

from secateurs.structure.rules import contraction, norms, pointwise, reductions, shapes
from secateurs.structure.rules.registry import RULES, rule

__all__ = ["RULES", "contraction", "norms", "pointwise", "reductions", "rule", "shapes"]
