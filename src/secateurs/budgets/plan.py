"""Plans: the kept units of each group, as data that can be saved, loaded and applied to another copy of the model."""

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
    """The kept units of one group.

    Attributes:
        units: the number of units in the dense model.
        keep: the ascending indices of the kept units.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    units: Annotated[int, Field(gt=1)]
    keep: Annotated[tuple[Index, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_ascending(self) -> GroupPlan:
        if list(self.keep) != sorted(set(self.keep)) or self.keep[-1] >= self.units:
            raise ValueError(f"kept indices must be ascending, unique and less than {self.units}")
        return self


class Plan(BaseModel):
    """The kept units of each group, and the cost of the model before and after pruning.

    Attributes:
        groups: group name to the size of the group and the kept units. Groups that are missing keep all units.
        budget: the budget, such as "macs:0.5".
        scope: the scope in which units competed; see `allocate`.
        dense: the cost of the dense model.
        pruned: the exact cost of the pruned model.
        frozen: the names of groups that cannot be pruned, with reasons; see `Structure.frozen`.
        certificates: for the budget "effective", a certificate per group name, or one with the name "all groups".

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
        """Group name to the indices of the kept units."""
        return {name: group.keep for name, group in self.groups.items()}

    @property
    def widths(self) -> dict[str, int]:
        """Group name to the number of kept units."""
        return {name: len(group.keep) for name, group in self.groups.items()}

    def removed(self) -> dict[str, tuple[int, ...]]:
        """Group name to the indices of the removed units."""
        return {name: tuple(sorted(set(range(g.units)) - set(g.keep))) for name, g in self.groups.items()}

    def check(self, structure: Structure) -> None:
        """Check that the plan was made for this structure.

        Raises:
            PlanError: a group does not exist, is frozen, has a different number of units, or keeps too few units; or
                the predicted number of parameters differs.
        """
        for name, group in self.groups.items():
            units = structure.group(name).size
            if units != group.units:
                raise PlanError(
                    f"the plan belongs to another model: group {name!r} has {group.units} units in the plan and "
                    f"{units} units in the model"
                )
            least = structure.group(name).least
            if len(group.keep) < least:
                raise PlanError(
                    f"group {name!r} must keep at least {least} units, but the plan keeps {len(group.keep)}"
                )
        if structure.cost(self.widths).params != self.pruned.params:
            raise PlanError(
                "the plan belongs to another model or was changed: the plan predicts "
                f"{self.pruned.params:,} parameters, the structure {structure.cost(self.widths).params:,}"
            )

    def since(self, earlier: Plan) -> Plan:
        """Compute the plan that leads from the result of an earlier plan to the result of this plan.

        Args:
            earlier: a plan for the same dense model that keeps every unit of this plan.

        Returns:
            A plan for the model that the earlier plan produced.
        """
        groups = {}
        for name, group in self.groups.items():
            remaining = earlier.keep.get(name, tuple(range(group.units)))
            if set(group.keep) != set(remaining):
                groups[name] = GroupPlan(units=len(remaining), keep=tuple(map(remaining.index, group.keep)))
        return self.model_copy(update={"groups": groups, "dense": earlier.pruned})

    def without(self, reasons: dict[str, str], structure: Structure) -> Plan:
        """Exclude groups from the plan.

        Args:
            reasons: the names of the groups, with reasons; they are added to `frozen`.
            structure: of the dense model.
        """
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
            raise PlanError(f"cannot write the plan to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote.

        Raises:
            PlanError: the file cannot be read or does not contain a plan.
        """
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"cannot read the plan {path}: {error}") from error
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
