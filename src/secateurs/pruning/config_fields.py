"""The fields of `PruningConfig`: their types, the texts and JSON that they are read from, and their descriptions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from secateurs.budgets import Budget, Limits, Schedule, Scope
from secateurs.criteria import AnyCriterion, parse_criterion
from secateurs.errors import UsageError
from secateurs.training import Fit, Recovery


def describe_errors(error: ValidationError) -> str:
    """What pydantic refused, on one line: each field with the reason and the value."""
    return "; ".join(
        f"{'.'.join(map(str, part['loc']))}: {part['msg']}, not {part['input']!r}" for part in error.errors()
    )


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"expected a name or a list of names, not {value!r}")
    return tuple(names)


def _optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else parse(value)


def _dataclass(cls: type[Any]) -> Callable[[Any], Any]:
    """A parser for an instance of a dataclass, its JSON form, or None for the defaults."""

    def parse(value: Any) -> Any:
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise UsageError(f"expected {cls.__name__}(...), not {value!r}")
        try:
            return TypeAdapter(cls).validate_json(json.dumps(value))
        except ValidationError as error:
            raise UsageError(f"{cls.__name__} cannot be read: {describe_errors(error)}") from None

    return parse


def _training(value: Any) -> Recovery | Fit:
    if isinstance(value, str):
        raise UsageError(f"the training function {value!r} cannot be read from text: pass the function itself")
    if callable(value):
        return value
    if not isinstance(value, (Recovery, Mapping)):
        raise UsageError(f"expected Recovery(...), or a function that trains a model in place, not {value!r}")
    return _dataclass(Recovery)(value)


def _plain(value: Any) -> Any:
    """A dataclass as plain data; a function by its name."""
    if value is None or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return value and dataclasses.asdict(value)
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


CriterionField = Annotated[
    AnyCriterion,
    PlainValidator(parse_criterion),
    PlainSerializer(lambda criterion: criterion.name),
    Field(description="Criterion that scores the units (see: secateurs list criteria), or a sum: 0.7*nexp+0.3*l1."),
]
BudgetField = Annotated[
    Budget,
    PlainValidator(Budget.parse),
    PlainSerializer(str),
    Field(description="What is kept of the dense model (see: secateurs list budgets): macs:F, params:F, effective …"),
]
ScopeField = Annotated[
    Scope | None,
    PlainValidator(_optional(Scope.parse)),
    PlainSerializer(_optional(lambda scope: scope.value)),
    Field(description="How units compete: global, per-cost, relative or local; by default as the criterion says."),
]
LimitsField = Annotated[
    Limits, PlainValidator(_dataclass(Limits)), PlainSerializer(_plain), Field(description="Bounds for each group.")
]
KindsField = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_optional(_names)),
    Field(description="Kind of units that may be removed (see: secateurs list kinds); may be repeated."),
]
KeepField = Annotated[
    tuple[str, ...],
    BeforeValidator(_names),
    Field(description="Name or pattern of modules whose units are all kept; may be repeated."),
]
AggregateField = Annotated[
    Literal["auto", "mean", "max", "sum"],
    Field(description="How the scores of a unit in several layers are combined; auto: as suits the criterion."),
]
CompensateField = Annotated[
    bool, Field(strict=True, description="Let the remaining units compensate for the removed ones.")
]
ScheduleField = Annotated[
    Schedule,
    PlainValidator(_dataclass(Schedule)),
    PlainSerializer(_plain),
    Field(description="Rounds of scoring and cutting."),
]
TrainingField = Annotated[
    Recovery | Fit | None,
    PlainValidator(_optional(_training)),
    PlainSerializer(_plain),
    Field(description="A training recipe, or a function that trains a model in place; None for no training."),
]
RecalibrateField = Annotated[
    bool | None,
    Field(strict=True, description="Recalibrate batch norm after the cut; by default only where training follows."),
]
SeedField = Annotated[
    int, Field(strict=True, ge=0, description="Seed of random scores, of drawn samples and of training.")
]
