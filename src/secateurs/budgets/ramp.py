"""Ramps: the training steps after which a model is cut, and the budget of each cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.schedule import kept
from secateurs.errors import BudgetError, UsageError


@dataclass(frozen=True)
class Ramp:
    """Cuts at regular intervals of training steps until the budget is reached (Zhu & Gupta 2017, arXiv 1710.01878).

    Attributes:
        budget: the final budget; see `allocate`.
        start: the step after which the ramp begins; the first cut is `every` steps later.
        stop: the step of the last cut.
        every: the number of steps between cuts.
        shape: the course of the budget: "linear", "cubic" (Eq. 1 of the paper) or "geometric".

    Raises:
        UsageError: the steps are not integers, not in order or not positive, or the shape is unknown.
        BudgetError: the budget is "effective", which has no intermediate budgets.
    """

    budget: Budget
    start: int
    stop: int
    every: int
    shape: str

    def __post_init__(self):
        steps = (self.start, self.stop, self.every)
        if any(type(n) is not int for n in steps) or not 0 <= self.start < self.stop or self.every < 1:
            raise UsageError(
                "start, stop and every must be integers with 0 ≤ start < stop and every ≥ 1, not "
                f"start={self.start!r}, stop={self.stop!r}, every={self.every!r}"
            )
        kept(self.shape, 1, 1)
        if self.budget.quantity == EFFECTIVE:
            raise BudgetError(
                f'budget "{self.budget}" cannot be used for several cuts, because the scores determine the number of '
                'units; give a fraction, such as "macs:0.5"'
            )

    def due(self, step: int) -> bool:
        """Whether the model is cut after this step."""
        return self.start < step <= self.stop and ((step - self.start) % self.every == 0 or step == self.stop)

    def at(self, step: int) -> Budget:
        """The budget of the cut after this step."""
        if step == self.stop:
            return self.budget
        done = (step - self.start) / (self.stop - self.start)
        return replace(self.budget, fraction=kept(self.shape, self.budget.fraction, done))
