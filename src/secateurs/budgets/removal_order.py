"""The order in which units are removed, lowest values first, and the width of each group after each step.

A step removes the worst unit of each group of a role. A role is one group, or several groups with a common width.
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
"""Maps a role and a width to whether the width is allowed. The width of the dense model is always allowed."""


class RemovalOrder:
    """The order of removal, and the widths after each number of steps.

    Args:
        structure: of the dense model.
        roles: the groups to prune, by role. Of equal values, the value of the earlier role comes first.
        values: group name to one value per remaining unit; units with low values are removed first.
        widths: the widths of all groups before the first step.
        limits: bounds on all widths.
        scope: how units compete.
        allowed_widths: further bounds; by default every width is allowed.

    Attributes:
        structure: see above.
        roles: see above.
        limits: see above.
        steps: the number of steps; without limits, no unit would be left after the last step.

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
        """The smallest number of steps that leaves at most `count` units in the groups of all roles."""
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
        """The width within all limits that replaces a requested width."""
        low, high = self._bounds[role]
        return min(max(self._next_allowed(role, width), low), high, self._first_of[role])

    def fill(self, quantity: Quantity, target: float, widths: dict[str, int]) -> dict[str, int]:
        """Restore units, highest values first, while the amount stays within the target.

        Args:
            quantity: the quantity of the budget.
            target: the largest allowed amount.
            widths: the widths to start from.

        Returns:
            The widths after which no further unit fits.
        """
        widths, counter = dict(widths), quantity.counter(self.structure, widths)
        while True:
            fitting: list[tuple[float, dict[str, int]]] = []
            for role in self.roles:
                width, widest = widths[role[0]], min(self._bounds[role][1], self._first_of[role])
                if width < widest and (wider := self._next_allowed(role, width + 1)) <= widest:
                    restored = dict.fromkeys(role, wider)
                    if counter.at(restored) <= target:
                        fitting.append((self._values[role][self._first_of[role] - width - 1], restored))
            if not fitting:
                return widths
            _, best = max(fitting, key=lambda pair: pair[0])
            widths |= best
            counter.set(best)

    def _bounds_of(self, role: Role) -> tuple[int, int]:
        """The smallest and the largest width of a role."""
        least = max(self.structure.group(name).least for name in role)
        try:
            low, high = self.limits.bounds(self._size(role), least)
        except BudgetError as error:
            raise InfeasibleBudgetError(f"group {role[0]!r}: {error}") from None
        highest = next((width for width in range(high, low - 1, -1) if self._is_allowed(role, width)), 0)
        if not highest:
            raise InfeasibleBudgetError(
                f"group {role[0]!r}: the class of the model supports no width from {low} to {high}; relax the limits"
            )
        return self._next_allowed(role, low), highest

    def _next_allowed(self, role: Role, width: int) -> int:
        """The smallest allowed width that is not below `width`."""
        return next(wider for wider in range(width, self._size(role) + 1) if self._is_allowed(role, wider))

    def _is_allowed(self, role: Role, width: int) -> bool:
        """Whether the multiples and `allowed_widths` allow this width."""
        size = self._size(role)
        divides = width == size or all(not width % self.structure.group(name).multiple for name in role)
        return divides and self.limits.width(width, size) == width and self._allowed_widths(role, width)

    def _worst_first(self, role: Role, values: Mapping[str, np.ndarray], scope: Scope) -> np.ndarray:
        """The value of each step of a role, ascending: the mean value of the removed units."""
        width = self._first_of[role]
        if scope is Scope.LOCAL:
            # Relative ranks make groups of all sizes shrink together. Ranks are relative to the dense size: relative to
            # the current size, small groups would lose no unit in a schedule of small steps.
            size = self._size(role)
            return (np.arange(size - width, size) + 0.5) / size
        best_first = [np.sort(values[name])[::-1][:width] for name in role]
        return np.mean(best_first, axis=0)[::-1]

    def _size(self, role: Role) -> int:
        return self.structure.group(role[0]).size
