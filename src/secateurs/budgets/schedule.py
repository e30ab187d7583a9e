"""Schedules: how many rounds a model takes to its budget, and how much goes in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.errors import BudgetError, UsageError

RAMPS: dict[str, Callable[[float, float], float]] = {
    "linear": lambda left, done: 1 - (1 - left) * done,
    "cubic": lambda left, done: left + (1 - left) * (1 - done) ** 3,
    "geometric": lambda left, done: left**done,
}
"""What is kept when this share of the way is done, if `left` is kept in the end.

"cubic" removes most at the beginning (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1); "geometric" removes the same share
of what is there each time.
"""


def kept(ramp: str, left: float, done: float) -> float:
    """The share that is kept when this share of the way is done, both in [0, 1].

    Args:
        ramp: of `RAMPS`.
        left: the share that is kept in the end.
        done: how much of the way.

    Raises:
        UsageError: there is no such ramp.
    """
    if ramp not in RAMPS:
        raise UsageError(f"ramp {ramp!r} is none of {', '.join(RAMPS)}")
    return left if done >= 1 else RAMPS[ramp](left, done)


@dataclass(frozen=True)
class Schedule:
    """In how many rounds of scoring and cutting a model comes to its budget.

    Attributes:
        rounds: 1 is one shot. With more, scores are computed anew after each cut.
        ramp: how much is left after each round: "linear", "cubic" or "geometric".
        during_training: the rounds are cuts in the first half of the recovery's training, at even intervals, with the
            optimiser's state carried over each (as NDP does).

    Raises:
        UsageError: there is no such ramp, or no round.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    rounds: Annotated[int, Field(description="Rounds of scoring and cutting to the budget.")] = 1
    ramp: Annotated[str, Field(description="Course of the rounds to the budget: linear, cubic or geometric.")] = (
        "linear"
    )
    during_training: Annotated[
        bool, Field(description="Make the cuts in the first half of the training (--epochs), at even intervals.")
    ] = False

    def __post_init__(self):
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 1:
            raise UsageError(f"a schedule needs at least one round, not {self.rounds!r}")
        kept(self.ramp, 1, 1)

    def budgets(self, budget: Budget | str) -> list[Budget]:
        """The budget of each round, relative to the dense model; the last is the one given.

        Raises:
            BudgetError: the text is no budget, or has no steps on the way to it.
        """
        goal = Budget.parse(budget)
        if self.rounds > 1 and goal.quantity == EFFECTIVE:
            raise BudgetError(
                f'budget "{goal}" is a number of units that the scores give, with no steps on the way: use one round'
            )
        fractions = [kept(self.ramp, goal.fraction, number / self.rounds) for number in range(1, self.rounds)]
        return [*(replace(goal, fraction=fraction) for fraction in fractions), goal]
