"""The order in which units are removed, worst first, and the width of every group after each step.

A step belongs to a role: one group, or several groups that have the same width, each of which loses its worst unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateurs.budgets.limits import Limits
from secateurs.budgets.quantity import Quantity
from secateurs.budgets.scopes import Scope
from secateurs.errors import BudgetError, InfeasibleBudgetError
from secateurs.structure import Role, Structure

AllowedWidths = Callable[[Role, int], bool]
"""Whether the groups of a role may have this width. The width of the dense model is always allowed."""


class RemovalOrder:
    """The widths after each number of steps.

    Args:
        structure: of the dense model.
        roles: the groups that take steps, in the order in which ties are resolved.
        values: per group, one value per remaining unit; units with low values are removed first.
        widths: the widths before the first step, of all groups that the budget covers.
        limits: bounds on all widths.
        scope: how units compete.
        allowed_widths: further bounds; by default every width is allowed.

    Attributes:
        structure, roles, limits: as given.
        steps: the number of steps, after which no unit would be left.

    Raises:
        InfeasibleBudgetError: no width of a group satisfies all limits.
    """

    def __init__(
        self,
        structure: Structure,
        roles: Sequence[Role],
        values: Mapping[str, np.ndarray],
        widths: Mapping[str, int],
        limits: Limits,
        scope: Scope,
        allowed_widths: AllowedWidths | None = None,
    ):
        self.structure, self.roles, self.limits = structure, roles, limits
        self._allowed_widths = allowed_widths or (lambda role, width: True)
        self._first = dict(widths)
        self._first_of = {role: min(widths[name] for name in role) for role in roles}
        self._bounds = {role: self._bounds_of(role) for role in roles}
        self._values = {role: self._worst_first(role, values, scope) for role in roles}
        order = np.argsort(np.concatenate(list(self._values.values())), kind="stable")
        self._owner = np.repeat(np.arange(len(roles)), [self._first_of[role] for role in roles])[order]
        self.steps = len(order)

    @property
    def dense(self) -> dict[str, int]:
        """The widths of the dense model."""
        return {name: self.structure.group(name).size for name in self._first}

    def steps_to(self, count: int) -> int:
        """The fewest steps that leave no more than this number of units in the groups that take steps."""
        sizes = np.array([len(role) for role in self.roles])
        total = sum(self._first_of[role] * len(role) for role in self.roles)
        removed = np.concatenate([[0], sizes[self._owner].cumsum()])
        return int(np.searchsorted(removed, min(max(total - count, 0), total)))

    def widths(self, step: int) -> dict[str, int]:
        """The widths after this number of steps, within all limits."""
        taken = np.bincount(self._owner[:step], minlength=len(self.roles))
        widths = dict(self._first)
        for role, removed in zip(self.roles, taken, strict=True):
            widths |= dict.fromkeys(role, self.allowed(role, self._first_of[role] - int(removed)))
        return widths

    def allowed(self, role: Role, width: int) -> int:
        """The width within all limits that a role gets where this one is wanted."""
        low, high = self._bounds[role]
        return min(max(self._next_allowed(role, width), low), high, self._first_of[role])

    def fill(self, quantity: Quantity, target: float, widths: dict[str, int]) -> dict[str, int]:
        """Undo steps, those of the best units first, for as long as the amount stays within the target."""
        widths, counter = dict(widths), quantity.counter(self.structure, widths)
        while True:
            fitting: list[tuple[float, dict[str, int]]] = []
            for role in self.roles:
                now, most = widths[role[0]], min(self._bounds[role][1], self._first_of[role])
                if now < most and (wider := self._next_allowed(role, now + 1)) <= most:
                    undone = dict.fromkeys(role, wider)
                    if counter.at(undone) <= target:
                        fitting.append((self._values[role][self._first_of[role] - now - 1], undone))
            if not fitting:
                return widths
            _, best = max(fitting, key=lambda pair: pair[0])
            widths |= best
            counter.set(best)

    def _bounds_of(self, role: Role) -> tuple[int, int]:
        """The least and the largest width of a role."""
        least = max(self.structure.group(name).least for name in role)
        try:
            low, high = self.limits.bounds(self._size(role), least)
        except BudgetError as error:
            raise InfeasibleBudgetError(f"group {role[0]!r}: {error}") from None
        highest = next((width for width in range(high, low - 1, -1) if self._is_allowed(role, width)), 0)
        if not highest:
            raise InfeasibleBudgetError(
                f"group {role[0]!r}: the model's class supports no width from {low} to {high}; relax the limits"
            )
        return self._next_allowed(role, low), highest

    def _next_allowed(self, role: Role, width: int) -> int:
        """The least width from this one up that the role may have."""
        return next(wider for wider in range(width, self._size(role) + 1) if self._is_allowed(role, wider))

    def _is_allowed(self, role: Role, width: int) -> bool:
        """Whether multiples and the model's class allow this width."""
        size = self._size(role)
        divides = width == size or all(not width % self.structure.group(name).multiple for name in role)
        return divides and self.limits.width(width, size) == width and self._allowed_widths(role, width)

    def _worst_first(self, role: Role, values: Mapping[str, np.ndarray], scope: Scope) -> np.ndarray:
        """The value of each step of a role, ascending: the mean value of the units that it removes."""
        width = self._first_of[role]
        if scope is Scope.LOCAL:
            # A rank from the bottom, as a share, makes groups of all sizes shrink together. It is a share of the dense
            # size: otherwise small groups would lose no unit in a schedule of small steps.
            size = self._size(role)
            return (np.arange(size - width, size) + 0.5) / size
        best_first = [np.sort(values[name])[::-1][:width] for name in role]
        return np.mean(best_first, axis=0)[::-1]

    def _size(self, role: Role) -> int:
        return self.structure.group(role[0]).size
