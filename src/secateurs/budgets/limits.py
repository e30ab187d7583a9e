"""Limits: bounds on the width of each group that hold for every budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from torch import nn

from secateurs.errors import BudgetError


@dataclass(frozen=True)
class Limits:
    """Bounds on the number of units kept in each group.

    A float in (0, 1] is a share of the group's units. An integer is a number of units. So 1 means one unit, and 1.0
    means all units.

    Attributes:
        floor: the smallest number of units that a group keeps.
        cap: the largest number of units that a group keeps.
        multiple: widths are rounded up to multiples of this number; a group without removed units keeps its width.
        uniform: whether groups of the same kind and size get the same width, so that a configuration with one number
            for all blocks can describe the model. Each group keeps its own best units. If one of these groups cannot
            be pruned or has no scores, all of them keep all units. None means True in `prune` and `gradual` for models
            that generate text with `transformers`, unless one effective number of units is requested for all groups;
            otherwise, and in `allocate`, None means False.

    Raises:
        BudgetError: a limit is out of range.

    Example:
        >>> limits = sc.Limits(floor=0.25, multiple=4)  # at least a quarter of each group, in multiples of 4
        >>> result = sc.prune(model, data, criterion="l2", budget="macs:0.5", limits=limits)
        >>> [width % 4 for width in result.plan.widths.values()]
        [0, 0, 0]
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    floor: Annotated[
        float | int, Field(description="Smallest number of units in a group: a fraction (0.1) or a number (4).")
    ] = 1
    cap: Annotated[float | int, Field(description="Largest number of units in a group: a fraction or a number.")] = 1.0
    multiple: Annotated[int, Field(description="Widths are multiples of this number.")] = 1
    uniform: Annotated[
        bool | None,
        Field(description="Same width for all groups of one kind and size; default for models that generate text."),
    ] = None

    def __post_init__(self):
        for name in ("floor", "cap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BudgetError(f"limit {name} must be a number, not {value!r}")
            if value < 1 if isinstance(value, int) else not 0 < value <= 1:
                raise BudgetError(f"limit {name}={value!r} must be a fraction in (0, 1] or a number of units ≥ 1")
        if isinstance(self.multiple, bool) or not isinstance(self.multiple, int) or self.multiple < 1:
            raise BudgetError(f"limit multiple={self.multiple!r} must be an integer ≥ 1")
        if not (self.uniform is None or isinstance(self.uniform, bool)):
            raise BudgetError(f"limit uniform={self.uniform!r} must be True, False, or None (decided by the model)")

    def bounds(self, units: int, least: int = 1) -> tuple[int, int]:
        """Compute the smallest and the largest width of a group.

        Args:
            units: the size of the group.
            least: the smallest width that the model supports.

        Returns:
            The smallest and the largest width.

        Raises:
            BudgetError: no width satisfies all limits.
        """
        low = self.width(max(_count(self.floor, units, up=True), least), units)
        high = self.width(_count(self.cap, units, up=False), units)
        if high > _count(self.cap, units, up=False):  # rounded up beyond the cap
            high = _count(self.cap, units, up=False) // self.multiple * self.multiple
        if low > high:
            raise BudgetError(
                f"no width of a group of {units} units is at least {max(self.floor, least)!r} and at most {self.cap!r}"
                + (f" and a multiple of {self.multiple}" if self.multiple > 1 else "")
                + "; relax the limits"
            )
        return low, high

    def width(self, target: int, units: int) -> int:
        """Round a target width up to a multiple, but not beyond the size of the group."""
        return min(-(-target // self.multiple) * self.multiple, units)


def resolve_limits(limits: Limits | None, model: nn.Module | None = None, pooled: bool = False) -> Limits:
    """Replace the value None of `uniform` by True or False.

    Args:
        limits: the limits of the user; None for the defaults.
        model: widths are uniform by default if this model generates text with `transformers`.
        pooled: whether the units of all groups compete in one pool; then widths are not uniform by default.

    Returns:
        The limits with a boolean `uniform`.

    Raises:
        BudgetError: `limits` is not a `Limits`.
    """
    limits = Limits() if limits is None else limits
    if not isinstance(limits, Limits):
        raise BudgetError(f"limits must be a Limits, not {limits!r}; give Limits(floor=..., cap=..., ...)")
    if limits.uniform is not None:
        return limits
    generates = getattr(model, "can_generate", None)
    return replace(limits, uniform=not pooled and callable(generates) and generates() is True)


def _count(limit: float | int, units: int, up: bool) -> int:
    """The number of units that a limit stands for, rounded up or down, at least 1 and at most `units`."""
    if isinstance(limit, int):
        return min(limit, units)
    share = limit * units
    return min(max(int(-(-share // 1)) if up else int(share + 1e-9), 1), units)
