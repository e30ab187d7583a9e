"""The registry of operator rules."""

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
"""The name of the rule for all operators with `torch.Tag.pointwise` that have no rule of their own."""


@dataclass(frozen=True)
class OperatorRule:
    """The rule of one operator.

    Attributes:
        function: derives the axes of the results from the axes of the arguments (see `rule`); None if there is no rule.
        kind: the effect of the operator on values; see `rule`.
    """

    function: Callable[..., Any] | None = None
    kind: Kind | None = None

    @property
    def is_activation(self) -> bool:
        """Whether the operator is a non-linearity; units are observed before and after it."""
        return self.kind in ("activation", "positive_activation")

    @property
    def moves_values(self) -> bool:
        """Whether the first result contains values of the first argument only."""
        return self.kind in ("layout", "selection")


_RULES: dict[str, OperatorRule] = {}


def rule(*operators: str, kind: Kind | None = None) -> Callable[[RuleFunction], RuleFunction]:
    """Register the decorated function as the rule of one or more operators.

    A rule derives the axes of the results of an operator. It is called as `function(flow, out, *args, **kwargs)` with
    the `Flow` of the running trace, the result of the operator (a list of several results), and the arguments of the
    operator. It returns the axes of the result, one per dimension, or a list of such sequences for several results.

    Args:
        operators: qualified names such as "aten::relu" or "mylib::swish". A name includes all overloads and the
            in-place form.
        kind: the effect of the operator on values. Units are observed before and after activations. The outputs of a
            layer are followed through affine, layout and selection operators.

            * "activation": an elementwise non-linearity. NEXP, SSI, APoZ and other criteria observe the result.
            * "positive_activation": an elementwise non-linearity with positive values only, such as a sigmoid.
            * "affine": scales and shifts each feature, if only one argument depends on the data.
            * "layout": rearranges all values, as `view` and `permute` do.
            * "selection": selects or reorders values, as `slice` and `sort` do.
            * None: any other operator, such as a matrix product or a sum.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        UsageError: no operator is named, `kind` is unknown, or an operator already has a rule from another function. A
            function with the same module and name replaces its old rule, so that a notebook cell can run twice.

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
        raise UsageError(f"rule for {operators[0]}: unknown kind {kind!r}; choose one of {', '.join(get_args(Kind))}")

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
    """Remove the rules that a `with` block registers at the end of the block.

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
    """Look up the rule of an operator; by default the pointwise rule if torch tags it as pointwise, else no rule."""
    common = _RULES[POINTWISE] if torch.Tag.pointwise in func.tags else OperatorRule()
    return _RULES.get(operator_name(func), common)


def operator_name(func: Any) -> str:
    """The name of an operator without its overload, and without the underscore of an in-place form."""
    schema = func._schema
    return schema.name[:-1] if schema.is_mutable and schema.name.endswith("_") else schema.name


def _definition(function: Any) -> str:
    """The module and name of a function, which are equal for two runs of the same file."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
