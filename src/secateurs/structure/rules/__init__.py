"""How axes flow through operators, one short function per family of operators."""

from secateurs.structure.rules import attention, contraction, lookup, norms, pointwise, reductions, shapes
from secateurs.structure.rules.registry import RULES, rule

__all__ = ["RULES", "attention", "contraction", "lookup", "norms", "pointwise", "reductions", "rule", "shapes"]
