"""Schedules: the rounds of scoring and cutting, and the budget of each round."""

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
"""Name to function from the final fraction and the completed share of the schedule to the current fraction to keep.

"cubic" removes most at the beginning (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1). "geometric" removes the same share of
the remaining amount in each round.
"""


def kept(ramp: str, final: float, done: float) -> float:
    """Compute the fraction of the dense model's amount to keep at a point of the schedule.

    Args:
        ramp: a name in `RAMPS`.
        final: the fraction to keep at the end, in (0, 1].
        done: the completed share of the schedule, in [0, 1].

    Returns:
        The fraction, in (0, 1].

    Raises:
        UsageError: the ramp is unknown.
    """
    if ramp not in RAMPS:
        raise UsageError(f"unknown ramp {ramp!r}; choose one of {', '.join(RAMPS)}")
    return final if done >= 1 else RAMPS[ramp](final, done)


@dataclass(frozen=True)
class Schedule:
    """The rounds of scoring and cutting in which a model reaches the budget.

    Attributes:
        rounds: the number of rounds. With several rounds, scores are computed again after each cut.
        ramp: the course of the budget over the rounds: "linear", "cubic" or "geometric".
        during_training: whether to make the cuts in the first half of the recovery training, at even intervals. The
            state of the optimiser is adapted at each cut (as in NDP).

    Raises:
        UsageError: the ramp is unknown, or `rounds` is not an integer ≥ 1.

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
            raise UsageError(f"the rounds of a schedule must be an integer ≥ 1, not {self.rounds!r}")
        kept(self.ramp, 1, 1)

    def budgets(self, budget: Budget | str) -> list[Budget]:
        """Compute the budget of each round, relative to the dense model.

        Args:
            budget: the budget of the last round.

        Raises:
            BudgetError: the budget is invalid, or it is "effective" and there are several rounds.
        """
        goal = Budget.parse(budget)
        if self.rounds > 1 and goal.quantity == EFFECTIVE:
            raise BudgetError(
                f'budget "{goal}" cannot be used for several rounds, because the scores determine the number of units; '
                "use one round"
            )
        fractions = [kept(self.ramp, goal.fraction, number / self.rounds) for number in range(1, self.rounds)]
        return [*(replace(goal, fraction=fraction) for fraction in fractions), goal]
