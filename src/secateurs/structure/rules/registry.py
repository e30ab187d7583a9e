"""The table of operator rules: how axes flow through each ATen or custom operator, and what the operator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch

from secateurs.errors import UsageError

Kind = Literal["activation", "positive_activation", "affine", "layout", "selection"]
RuleFunction = TypeVar("RuleFunction", bound=Callable[..., Any])

POINTWISE = "pointwise"
"""The name of the rule for every operator that has no rule of its own and carries `torch.Tag.pointwise`."""


@dataclass(frozen=True)
class OperatorRule:
    """Everything that Secateurs knows about one operator.

    Attributes:
        function: derives the axes of the results from those of the arguments (see `rule`); None if there is no rule.
        kind: what the operator does to values; see `rule`.
    """

    function: Callable[..., Any] | None = None
    kind: Kind | None = None

    @property
    def is_activation(self) -> bool:
        """Whether the operator is a non-linearity, so that units are observed before and after it."""
        return self.kind in ("activation", "positive_activation")

    @property
    def moves_values(self) -> bool:
        """Whether the first result holds values of the first argument and no others."""
        return self.kind in ("layout", "selection")


_RULES: dict[str, OperatorRule] = {}


def rule(*operators: str, kind: Kind | None = None) -> Callable[[RuleFunction], RuleFunction]:
    """Register the decorated function as the rule of one or more operators.

    A rule says how axes flow through an operator. It is called as `function(flow, out, *args, **kwargs)` with the
    `Flow` of the running trace, the operator's result (a list where there are several) and the operator's own
    arguments. It returns the axes of the result, one per dimension, or a list of such sequences for several results.

    Args:
        operators: qualified names such as "aten::relu" or "mylib::swish". A name covers all overloads and the
            in-place form.
        kind: what the operator does to values. Units are observed around activations, and layers are followed
            through affine, layout and selection operators:

            * "activation": an elementwise non-linearity. NEXP, SSI, APoZ and other criteria observe its result.
            * "positive_activation": the same for one whose values are always above 0, such as a sigmoid.
            * "affine": scales and shifts each feature, if one argument depends on the data.
            * "layout": lays out all values anew, as `view` and `permute` do.
            * "selection": chooses or reorders values, as `slice` and `sort` do.
            * None: anything else, such as a matrix product or a sum.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        UsageError: no operator is named, `kind` is unknown, or an operator has a rule already. A function of the same
            module and name replaces itself, so that a file or a notebook cell can run twice.

    Example:
        >>> from secateurs.structure import temporary_rules
        >>> @torch.library.custom_op("docs::swish", mutates_args=())
        ... def swish(x: torch.Tensor) -> torch.Tensor:
        ...     return x * x.sigmoid()
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)
        ...     def forward(self, x):
        ...         return self.b(swish(self.a(x)))
        >>> sc.trace(Net(), torch.randn(2, 4)).frozen["a"]
        'no rule for operator docs::swish'
        >>> with temporary_rules():  # undone at the end of the block
        ...     @sc.rule("docs::swish", kind="activation")
        ...     def swish_rule(flow, out, x):
        ...         return flow.axes(x)
        ...     structure = sc.trace(Net(), torch.randn(2, 4))
        >>> structure.groups["a"].after[0].site.operator
        'docs::swish'
    """
    if not operators:
        raise UsageError('rule() needs the name of an operator, such as @rule("mylib::swish")')
    if kind is not None and kind not in get_args(Kind):
        raise UsageError(
            f"rule for {operators[0]}: kind {kind!r} is unknown; the kinds are {', '.join(get_args(Kind))}"
        )

    def register(function: RuleFunction) -> RuleFunction:
        for operator in operators:
            known = _RULES.get(operator)
            if known is not None and _definition(known.function) != _definition(function):
                raise UsageError(
                    f"operator {operator} already has a rule, {_definition(known.function)}, which cannot be replaced"
                )
        _RULES.update(dict.fromkeys(operators, OperatorRule(function, kind)))
        return function

    return register


@contextmanager
def temporary_rules() -> Iterator[None]:
    """Undo every registration made inside the block when it ends.

    Example:
        >>> from secateurs.structure import temporary_rules
        >>> with temporary_rules():
        ...     @sc.rule("aten::cummax")
        ...     def cummax(flow, out, x, dim):
        ...         return [flow.axes(x), flow.axes(x)]
    """
    before = dict(_RULES)
    try:
        yield
    finally:
        _RULES.clear()
        _RULES.update(before)


def rule_of(func: Any) -> OperatorRule:
    """The rule of an operator overload: its own, the common one if torch tags it as pointwise, or an empty one."""
    common = _RULES[POINTWISE] if torch.Tag.pointwise in func.tags else OperatorRule()
    return _RULES.get(operator_name(func), common)


def operator_name(func: Any) -> str:
    """The name of an operator without its overload, and without the underscore of an in-place form."""
    schema = func._schema
    return schema.name[:-1] if schema.is_mutable and schema.name.endswith("_") else schema.name


def _definition(function: Any) -> str:
    """Where a function is defined: equal for two runs of the same file."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
