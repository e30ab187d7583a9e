"""`PruningConfig`: every decision of a pruning run in one frozen object, parsed once and carried whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import Self, Unpack

from secateurs.budgets import Budget, Limits, Schedule, Scope
from secateurs.criteria import Named
from secateurs.errors import UsageError
from secateurs.pruning.config_fields import (
    AggregateField,
    BudgetField,
    CompensateField,
    CriterionField,
    KeepField,
    KindsField,
    LimitsField,
    RecalibrateField,
    ScheduleField,
    ScopeField,
    SeedField,
    TrainingField,
    describe_errors,
)
from secateurs.training import Fit, Recovery
from secateurs.utils import atomic_write_text

ROUNDS_AND_TRAINING = ("schedule", "between", "recovery", "recalibrate")
"""Fields that only `prune` follows: it alone cuts in rounds and trains."""


class MoreOptions(TypedDict, total=False):
    """The fields of `PruningConfig` as keywords in the forms that users write, but for the criterion and the budget."""

    scope: Scope | str | None
    limits: Limits | None
    kinds: Sequence[str] | str | None
    keep: Sequence[str] | str
    aggregate: str
    compensate: bool
    schedule: Schedule | None
    between: Recovery | Fit | None
    recovery: Recovery | Fit | None
    recalibrate: bool | None
    seed: int


class PruningOptions(MoreOptions, total=False):
    """All fields of `PruningConfig` as keywords."""

    criterion: Named
    budget: Budget | str


class PruningConfig(BaseModel):
    """Every decision of a pruning run. Texts become objects when the configuration is made.

    `sc.prune`, `sc.gradual` and `sc.Layerwise` take a configuration, or its fields as arguments, or both: an argument
    then replaces the field.

    Attributes:
        criterion: what scores the units: a name of `secateurs list criteria`, a sum such as "0.7*nexp+0.3*l1", a
            criterion, or a `Hybrid`.
        budget: what is kept of the dense model: "macs:F", "params:F", "keep:F", "effective" or "effective:B"; see
            `allocate`.
        scope: how units compete; None for the scope of the criterion; see `allocate`.
        limits: bounds for each group. Groups alike get the same width if the model generates text with
            `transformers`, unless `Limits.uniform` says otherwise or one effective number is asked for all groups.
        kinds: the kinds of units that may be removed; None for the default kinds; see `trace`.
        keep: names or patterns of modules whose units are all kept; see `trace`.
        aggregate: how the scores of a unit in several layers are combined: "mean", "max", "sum", or "auto" for the
            form that suits the criterion; see `score_many`.
        compensate: whether the remaining units compensate for the removed ones; see `compensate`. Compensation follows
            each round if the model is trained between rounds, otherwise the last.
        schedule: the rounds of scoring and cutting; one by default.
        between: the training after each round but the last.
        recovery: the training after the last round.
        recalibrate: whether batch norm is recalibrated after the cut; None: only where training follows.
        seed: for criteria that draw random numbers, and for training.

    Raises:
        UsageError: an option is unknown, has a value that it cannot take, or contradicts another.
        CriterionError: the criterion is unknown.
        BudgetError: the budget, the limits or the scope cannot be understood.

    Example:
        >>> config = sc.PruningConfig(criterion="l2", budget="macs:0.6", limits=sc.Limits(multiple=2))
        >>> config.budget.fraction
        0.6
        >>> sc.PruningConfig.from_json(config.to_json()) == config
        True
        >>> result = sc.prune(model, data, config=config, seed=1)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    criterion: CriterionField = "obs"  # type: ignore[assignment]  (defaults are parsed as well)
    budget: BudgetField = "macs:0.5"  # type: ignore[assignment]
    scope: ScopeField = None
    limits: LimitsField = Limits()
    kinds: KindsField = None
    keep: KeepField = ()
    aggregate: AggregateField = "auto"
    compensate: CompensateField = True
    schedule: ScheduleField = Schedule()
    between: TrainingField = None
    recovery: TrainingField = None
    recalibrate: RecalibrateField = None
    seed: SeedField = 0

    def __init__(self, **options: Unpack[PruningOptions]):
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise UsageError(f"the configuration cannot be used: {describe_errors(error)}") from None

    @model_validator(mode="after")
    def _check_options_agree(self) -> Self:
        self.schedule.budgets(self.budget)
        if self.schedule.during_training:
            if not isinstance(self.recovery, Recovery) or self.between is not None:
                raise UsageError(
                    "Schedule(during_training=True) cuts the model while it is trained: give "
                    "recovery=Recovery(epochs=...), and leave `between` out"
                )
            if self.recalibrate:
                raise UsageError("Schedule(during_training=True) trains after each cut: leave `recalibrate` out")
        elif self.between is not None and self.schedule.rounds == 1:
            raise UsageError("`between` trains between rounds, but there is one round: give Schedule(rounds=...)")
        return self

    @property
    def unit_scope(self) -> Scope:
        """How units compete: the scope of the configuration, or that of the criterion."""
        return self.scope or Scope.parse(self.criterion.scope)

    def replace(self, **options: Unpack[PruningOptions]) -> PruningConfig:
        """The same configuration with some fields replaced.

        Raises:
            SecateursError: see `PruningConfig`.
        """
        values: dict[str, Any] = {**dict(self), **options}
        return PruningConfig(**values)

    def without_training(self) -> PruningConfig:
        """The same configuration without training and recalibration."""
        return self.replace(between=None, recovery=None, recalibrate=None)

    def check_unused(self, fields: Sequence[str], function: str) -> None:
        """Check that the fields which a function cannot follow have their default values.

        Raises:
            UsageError: one has another value.
        """
        default = PruningConfig()
        if changed := [name for name in fields if getattr(self, name) != getattr(default, name)]:
            raise UsageError(f"{function} cannot follow {', '.join(changed)}: leave out what it does not do")

    def to_json(self) -> str:
        """The configuration as JSON. A function that trains is written by its name and cannot be read back."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> PruningConfig:
        """Read what `to_json` wrote; a field that is left out has its default.

        Raises:
            UsageError: the text is not JSON, or has an unknown key.
            SecateursError: see `PruningConfig`.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise UsageError(f"the configuration must be a JSON object, not {values!r}")
        return cls(**values)

    def save(self, path: str | Path) -> None:
        """Write the configuration to a JSON file.

        Raises:
            UsageError: the file cannot be written.
        """
        try:
            atomic_write_text(Path(path), self.to_json() + "\n")
        except OSError as error:
            raise UsageError(f"the configuration cannot be written to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> PruningConfig:
        """Read a configuration from a JSON file.

        Raises:
            UsageError: the file cannot be read, or holds no configuration.
            SecateursError: see `PruningConfig`.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the configuration {path} cannot be read: {error}") from error
        return cls.from_json(text)


def resolve_config(
    config: PruningConfig | None, criterion: Named | None, budget: Budget | str | None, options: MoreOptions
) -> PruningConfig:
    """The configuration that a function was given; a criterion, a budget and keywords replace its fields.

    Raises:
        UsageError: `config` is no configuration.
        SecateursError: see `PruningConfig`.
    """
    fields: PruningOptions = {**options}
    if criterion is not None:
        fields["criterion"] = criterion
    if budget is not None:
        fields["budget"] = budget
    if config is None:
        return PruningConfig(**fields)
    if not isinstance(config, PruningConfig):
        raise UsageError(f"config must be a PruningConfig, not {config!r}; read a file with PruningConfig.load")
    return config.replace(**fields)
