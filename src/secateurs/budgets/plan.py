"""Plans: the units that are kept, as data that can be saved, read and applied anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secateurs.budgets.certificate import Certificate
from secateurs.errors import PlanError
from secateurs.structure import Cost, Structure
from secateurs.utils import render

Index = Annotated[int, Field(ge=0)]


class GroupPlan(BaseModel):
    """The units of one group that are kept.

    Attributes:
        units: the number of units of the dense model.
        keep: ascending indices of the units that are kept.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    units: Annotated[int, Field(gt=1)]
    keep: Annotated[tuple[Index, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_ascending(self) -> GroupPlan:
        if list(self.keep) != sorted(set(self.keep)) or self.keep[-1] >= self.units:
            raise ValueError(f"kept indices must be ascending, different, and below {self.units}")
        return self


class Plan(BaseModel):
    """The units of each group that are kept, and the cost of the model before and after.

    Attributes:
        groups: per group name, the size of the group and the units that are kept. Groups not named stay whole.
        budget: the budget, such as "macs:0.5".
        scope: how units competed; see `allocate`.
        dense: the cost of the dense model.
        pruned: the exact cost of the cut model.
        frozen: groups that could not be pruned, and the reasons; see `Structure.frozen`.
        certificates: for the budget "effective", the evidence per group name, or for "all groups" together.

    Example:
        >>> structure = sc.trace(model, example_inputs)
        >>> plan = sc.allocate(structure, sc.score(model, data, "l2", structure), "keep:0.5", scope="local")
        >>> plan.widths
        {'0': 4, '3': 6, '7': 8}
        >>> sc.Plan.model_validate_json(plan.model_dump_json()) == plan
        True
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    groups: dict[str, GroupPlan]
    budget: str
    scope: str
    dense: Cost
    pruned: Cost
    frozen: dict[str, str]
    certificates: dict[str, Certificate] = {}

    @property
    def keep(self) -> dict[str, tuple[int, ...]]:
        """Per group name, the indices of the units that are kept."""
        return {name: group.keep for name, group in self.groups.items()}

    @property
    def widths(self) -> dict[str, int]:
        """Per group name, the number of units that are kept."""
        return {name: len(group.keep) for name, group in self.groups.items()}

    def removed(self) -> dict[str, tuple[int, ...]]:
        """Per group name, the indices of the units that are removed."""
        return {name: tuple(sorted(set(range(g.units)) - set(g.keep))) for name, g in self.groups.items()}

    def check(self, structure: Structure) -> None:
        """Check that the plan was made for this structure.

        Raises:
            PlanError: a group does not exist, is frozen, has another number of units, or keeps too few.
        """
        for name, group in self.groups.items():
            units = structure.group(name).size
            if units != group.units:
                raise PlanError(
                    f"the plan is for another model: its group {name!r} has {group.units} units, the model's {units}"
                )
            least = structure.group(name).least
            if len(group.keep) < least:
                raise PlanError(
                    f"group {name!r} must keep at least {least} units, but the plan keeps {len(group.keep)}"
                )
        if structure.cost(self.widths).params != self.pruned.params:
            raise PlanError(
                f"the plan is for another model, or was altered: it predicts {self.pruned.params:,} parameters, "
                f"the structure of the model {structure.cost(self.widths).params:,}"
            )

    def since(self, earlier: Plan) -> Plan:
        """The plan that cuts the model which an earlier plan left down to this plan.

        Args:
            earlier: a plan for the same dense model that keeps every unit which this plan keeps.
        """
        groups = {}
        for name, group in self.groups.items():
            remaining = earlier.keep.get(name, tuple(range(group.units)))
            if set(group.keep) != set(remaining):
                groups[name] = GroupPlan(units=len(remaining), keep=tuple(map(remaining.index, group.keep)))
        return self.model_copy(update={"groups": groups, "dense": earlier.pruned})

    def without(self, reasons: dict[str, str], structure: Structure) -> Plan:
        """The plan with some groups left whole, given by name with the reason."""
        groups = {name: group for name, group in self.groups.items() if name not in reasons}
        pruned = structure.cost({name: len(group.keep) for name, group in groups.items()})
        return self.model_copy(update={"groups": groups, "pruned": pruned, "frozen": {**self.frozen, **reasons}})

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON.

        Raises:
            PlanError: the file cannot be written.
        """
        try:
            Path(path).write_text(self.model_dump_json(indent=1), encoding="utf-8")
        except OSError as error:
            raise PlanError(f"the plan cannot be written to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote.

        Raises:
            PlanError: the file cannot be read, or is not a plan.
        """
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"the plan {path} cannot be read: {error}") from error
        except ValidationError as error:
            raise PlanError(f"{path} is not a plan: {error}") from error

    def __str__(self) -> str:
        rows = [(name, g.units, len(g.keep), f"{len(g.keep) / g.units:.0%}") for name, g in self.groups.items()]
        headers = ("group", "units", "kept", "kept %")
        text = render(f"plan for {self.budget} ({self.scope})", headers, rows)
        return text + (
            f"\nparameters {self.dense.params:,} → {self.pruned.params:,}, "
            f"MACs {self.dense.macs:,} → {self.pruned.macs:,}\n"
            + "".join(f"effective, {name}: {certificate}\n" for name, certificate in self.certificates.items())
        )
