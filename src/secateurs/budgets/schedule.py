"""Schedules: the rounds of scoring and cutting to a budget, and the budget of each round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.errors import BudgetError, UsageError

RAMPS: dict[str, Callable[[float, float], float]] = {
    "linear": lambda final, done: 1 - (1 - final) * done,
    "cubic": lambda final, done: final + (1 - final) * (1 - done) ** 3,
    "geometric": lambda final, done: final**done,
}
"""Per name, the fraction that is kept at a point of the schedule, from the final fraction and the share that is done.

"cubic" removes most at the beginning (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1); "geometric" removes the same share
of the remaining amount each time.
"""


def kept(ramp: str, final: float, done: float) -> float:
    """The fraction of the dense model's amount that is kept at a point of the schedule.

    Args:
        ramp: a name in `RAMPS`.
        final: the fraction that is kept in the end, in (0, 1].
        done: the share of the schedule that is done, in [0, 1].

    Raises:
        UsageError: the ramp is unknown.
    """
    if ramp not in RAMPS:
        raise UsageError(f"ramp {ramp!r} is none of {', '.join(RAMPS)}")
    return final if done >= 1 else RAMPS[ramp](final, done)


@dataclass(frozen=True)
class Schedule:
    """The rounds of scoring and cutting in which a model reaches its budget.

    Attributes:
        rounds: the number of rounds. 1 is one shot; with more, scores are computed again after each cut.
        ramp: the course of the budget over the rounds: "linear", "cubic" or "geometric".
        during_training: make the cuts in the first half of the recovery training, at even intervals; the state of the
            optimiser is carried over each cut (as in NDP).

    Raises:
        UsageError: the ramp is unknown, or there is no round.

    Example:
        >>> [str(budget) for budget in sc.Schedule(rounds=2).budgets("macs:0.5")]
        ['macs:0.75', 'macs:0.5']
        >>> result = sc.prune(model, data, criterion="l2", budget="macs:0.5", schedule=sc.Schedule(rounds=2))
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
        """The budget of each round, relative to the dense model; the last is the given one.

        Raises:
            BudgetError: the text is no budget, or the budget is "effective" and there are several rounds.
        """
        goal = Budget.parse(budget)
        if self.rounds > 1 and goal.quantity == EFFECTIVE:
            raise BudgetError(
                f'budget "{goal}" is a number of units that the scores give, with no steps on the way: use one round'
            )
        fractions = [kept(self.ramp, goal.fraction, number / self.rounds) for number in range(1, self.rounds)]
        return [*(replace(goal, fraction=fraction) for fraction in fractions), goal]
