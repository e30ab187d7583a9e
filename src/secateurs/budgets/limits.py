"""Limits: what a budget may not do to a single group."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from secateurs.errors import BudgetError


@dataclass(frozen=True)
class Limits:
    """Bounds on the number of units kept in each group.

    A fraction in (0, 1] is a share of the group's units, an integer a number of them (so 1 is one unit, 1.0 all).

    Attributes:
        floor: the least that is kept.
        cap: the most that is kept.
        multiple: widths are multiples of this, rounded up; a group that is not cut keeps its width.
        uniform: groups of the same kind and size get the same width, so that a configuration with one number for all
            blocks can tell it; each keeps the units that are best in it. Where one of them cannot be cut, or has no
            scores, all stay as they are. None is for `prune` and `gradual` to decide: they take it for models that
            generate text with `transformers` and for no others, unless one effective number of units is asked for all
            groups. `allocate` takes it for no.

    Raises:
        BudgetError: a limit is out of range.
    """

    floor: float | int = 1
    cap: float | int = 1.0
    multiple: int = 1
    uniform: bool | None = None

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
            raise BudgetError(f"limit uniform={self.uniform!r} must be True, False, or None for what suits the model")

    def bounds(self, units: int, least: int = 1) -> tuple[int, int]:
        """The least and the most that a group of this size may keep, of which at `least` so many are needed.

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
            )
        return low, high

    def width(self, wanted: int, units: int) -> int:
        """The width allowed by `multiple` next above `wanted`."""
        return min(-(-wanted // self.multiple) * self.multiple, units)


def resolve_limits(limits: Limits | None, model: nn.Module | None = None, pooled: bool = False) -> Limits:
    """The limits that are meant, with `uniform` decided.

    Args:
        limits: as given; None for none.
        model: widths are uniform by default if it can generate text with `transformers`.
        pooled: whether all units are asked to be one pool, of which any may go; then they are not.

    Raises:
        BudgetError: these are no limits.
    """
    limits = Limits() if limits is None else limits
    if not isinstance(limits, Limits):
        raise BudgetError(f"limits must be made by Limits(...), not {limits!r}")
    if limits.uniform is not None:
        return limits
    generates = getattr(model, "can_generate", None)
    return replace(limits, uniform=not pooled and callable(generates) and generates() is True)


def _count(limit: float | int, units: int, up: bool) -> int:
    if isinstance(limit, int):
        return min(limit, units)
    share = limit * units
    return min(max(int(-(-share // 1)) if up else int(share + 1e-9), 1), units)
