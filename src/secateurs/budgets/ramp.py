"""The cuts during training: the steps after which they are due, and the budget of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.schedule import kept
from secateurs.errors import BudgetError, UsageError


@dataclass(frozen=True)
class Ramp:
    """Cuts after every so many steps, until the budget is reached (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1).

    Attributes:
        budget: the final budget; see `allocate`.
        start: the step after which the ramp begins; the first cut is `every` steps later.
        stop: the last cut follows this step.
        every: the number of steps between cuts.
        shape: the name of a ramp: "linear", "cubic" or "geometric".

    Raises:
        UsageError: the steps are not whole numbers, or not in order, or the ramp is unknown.
        BudgetError: the budget is "effective", which has no intermediate steps.
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
                "give start, stop and every as numbers of steps with 0 ≤ start < stop and every ≥ 1, not "
                f"start={self.start!r}, stop={self.stop!r}, every={self.every!r}"
            )
        kept(self.shape, 1, 1)
        if self.budget.quantity == EFFECTIVE:
            raise BudgetError(
                f'budget "{self.budget}" is a number of units that the scores give, with no steps on the way: give one '
                'such as "macs:0.5"'
            )

    def due(self, step: int) -> bool:
        """Whether a cut follows this step."""
        return self.start < step <= self.stop and ((step - self.start) % self.every == 0 or step == self.stop)

    def at(self, step: int) -> Budget:
        """The budget of the cut that follows this step."""
        if step == self.stop:
            return self.budget
        done = (step - self.start) / (self.stop - self.start)
        return replace(self.budget, fraction=kept(self.shape, self.budget.fraction, done))
