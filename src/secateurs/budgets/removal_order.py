"""The ladder of removals: worst first, one step after the other, and how wide every group is after each step.

What takes a step is a role: one group, or several that have the same width, of which each loses its own worst unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateurs.budgets.budget import Budget
from secateurs.budgets.limits import Limits
from secateurs.budgets.scopes import Scope
from secateurs.errors import BudgetError, InfeasibleBudgetError
from secateurs.structure import IncrementalCost, Role, Structure

AllowedWidths = Callable[[Role, int], bool]
"""Whether a role may have a width; it may have its own."""


class RemovalOrder:
    """The widths after each number of steps.

    Attributes:
        limits: bounds on all widths.
        roles: what takes steps, in the order of ties.
        steps: how many there are.
    """

    def __init__(
        self,
        structure: Structure,
        roles: Sequence[Role],
        values: Mapping[str, np.ndarray],
        left: Mapping[str, int],
        limits: Limits,
        scope: Scope,
        takes: AllowedWidths | None = None,
    ):
        self.roles, self._takes = roles, takes or (lambda role, width: True)
        self._structure, self.limits, self._left = structure, limits, dict(left)
        self._units = {name: structure.group(name).size for name in left}
        self._there = {role: min(left[name] for name in role) for role in roles}
        self._bounds = {role: self._bounds_of(role) for role in roles}
        self._keys = {role: self._worst_first(role, values, scope) for role in roles}
        order = np.argsort(np.concatenate(list(self._keys.values())), kind="stable")
        numbers = np.repeat(np.arange(len(roles)), [self._there[role] for role in roles])
        self._owner = numbers[order]
        self.steps = len(order)

    def _bounds_of(self, role: Role) -> tuple[int, int]:
        least = max(self._structure.group(name).least for name in role)
        try:
            low, high = self.limits.bounds(self._units[role[0]], least)
        except BudgetError as error:
            raise InfeasibleBudgetError(f"group {role[0]!r}: {error}") from None
        highest = next((width for width in range(high, low - 1, -1) if self._may(role, width)), 0)
        if not highest:
            raise InfeasibleBudgetError(f"group {role[0]!r}: the model's class takes no width from {low} to {high}")
        return self._above(role, low), highest

    def _above(self, role: Role, width: int) -> int:
        """The least width from this one up that the role may have."""
        return next(its for its in range(width, self._units[role[0]] + 1) if self._may(role, its))

    def _may(self, role: Role, width: int) -> bool:
        units = self._units[role[0]]
        fits = width == units or all(not width % self._structure.group(name).multiple for name in role)
        return fits and self.limits.width(width, units) == width and self._takes(role, width)

    def _worst_first(self, role: Role, values: Mapping[str, np.ndarray], scope: Scope) -> np.ndarray:
        """What each step of a role is ranked by: the mean of the scores of the units that go with it."""
        there = self._there[role]
        if scope is Scope.LOCAL:  # a rank from the bottom, as a share, makes groups of all sizes shrink together
            units = self._units[role[0]]  # of the dense model: else small groups would never lose one in small steps
            return (np.arange(units - there, units) + 0.5) / units
        best_first = [np.sort(values[name])[::-1][:there] for name in role]
        return np.mean(best_first, axis=0)[::-1]

    @property
    def units(self) -> int:
        """How many the dense model's groups have."""
        return sum(self._units.values())

    def steps_to(self, count: int) -> int:
        """The fewest steps after which no more than so many of the units that have scores would be left."""
        sizes = np.array([len(role) for role in self.roles])
        first = sum(self._there[role] * len(role) for role in self.roles)
        gone = np.concatenate([[0], sizes[self._owner].cumsum()])
        return int(np.searchsorted(gone, min(max(first - count, 0), first)))

    def widths(self, step: int) -> dict[str, int]:
        """The widths when the `step` worst units are asked to go."""
        gone = np.bincount(self._owner[:step], minlength=len(self.roles))
        widths = dict(self._left)
        for role, removed in zip(self.roles, gone, strict=True):
            widths |= dict.fromkeys(role, self.allowed(role, self._there[role] - int(removed)))
        return widths

    def allowed(self, role: Role, width: int) -> int:
        """The width that a role gets where this one is wanted."""
        low, high = self._bounds[role]
        return min(max(self._above(role, width), low), high, self._there[role])

    def fill(self, goal: Budget, target: float, widths: dict[str, int]) -> dict[str, int]:
        """Undo steps, best first, for as long as some fit under the target."""
        widths, pricing = dict(widths), IncrementalCost(self._structure, widths)
        while True:
            units = sum(widths.values())
            fitting: list[tuple[float, dict[str, int]]] = []
            for role in self.roles:
                now, most = widths[role[0]], min(self._bounds[role][1], self._there[role])
                if now < most and (wider := self._above(role, now + 1)) <= most:
                    undone = dict.fromkeys(role, wider)
                    if goal.amount(pricing.at(undone), units + (wider - now) * len(role)) <= target:
                        fitting.append((self._keys[role][self._there[role] - now - 1], undone))
            if not fitting:
                return widths
            _, best = max(fitting, key=lambda its: its[0])
            widths |= best
            pricing.set(best)

    def amount(self, goal: Budget, widths: dict[str, int]) -> int:
        """The budget's quantity at these widths."""
        return goal.amount(self._structure.cost(widths), sum(widths.values()))
