"""The table of rules: how axes flow through each ATen operator.

A rule is a function `rule(flow, out, *args, **kwargs)`: the tracer, the operator's result (a list where it has
several), and the operator's own arguments.  It returns the axes of the result, as a sequence of axes, or as a list
of such sequences where the operator has several results.  An operator without a rule freezes what it touches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

RULES: dict[str, Callable[..., Any]] = {}

Rule = TypeVar("Rule", bound=Callable[..., Any])

# Operators whose input is a "pre-activation" and whose output is a "post-activation".
ACTIVATIONS = {
    "aten::" + name
    for name in (
        "relu gelu silu mish sigmoid tanh elu celu selu softplus leaky_relu hardtanh hardswish hardsigmoid "
        "hardshrink softshrink threshold log_sigmoid_forward _prelu_kernel glu clamp clamp_min clamp_max"
    ).split()
}

# Operators that lay out the values of their input anew.
RELAYS = {
    "aten::" + name
    for name in (
        "view _unsafe_view _reshape_alias reshape clone detach alias contiguous _to_copy permute transpose t squeeze "
        "unsqueeze expand"
    ).split()
}

BATCH_NORMS = ("aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training", "aten::cudnn_batch_norm")

# Operators that scale and shift each feature at most, if one of their inputs alone depends on the data.
AFFINE = {"aten::" + name for name in "add sub mul div native_dropout".split()} | {*BATCH_NORMS}

# Operators whose first result holds values of their first input and no others.
MOVES = RELAYS | {"aten::" + name for name in "slice select index index_select sort roll".split()}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the operators `names`, written like "aten::relu" (in-place forms are included).

    Example:
        >>> @rule("mylib::scale")
        ... def scale(flow, out, x, factor):
        ...     return flow.axes(x)
    """

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def name_of(func: Any) -> str:
    """The name of an operator without its overload, and without the underscore of an in-place form."""
    schema = func._schema
    return schema.name[:-1] if schema.is_mutable and schema.name.endswith("_") else schema.name
