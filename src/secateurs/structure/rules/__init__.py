"""Rules that derive the axes of results from the axes of arguments, one short function per family of operators."""

from secateurs.structure.rules import (  # noqa: F401  importing them registers their rules
    attention,
    contraction,
    layout,
    lookup,
    norms,
    patches,
    pointwise,
    recurrent,
    reductions,
    slicing,
)
from secateurs.structure.rules.registry import OperatorRule, operator_name, rule, rule_of, temporary_rules

__all__ = ["OperatorRule", "operator_name", "rule", "rule_of", "temporary_rules"]
