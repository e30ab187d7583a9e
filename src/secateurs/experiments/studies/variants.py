"""The schedules that the schedule study compares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from secateurs.experiments.job import Job


@dataclass(frozen=True)
class Variant:
    """One schedule.

    Attributes:
        rounds: number of rounds of scoring and cutting.
        between: epochs of training after each round but the last; 0 for no update.
        epochs: epochs of training after the last round.
    """

    rounds: int
    between: int
    epochs: int

    @property
    def name(self) -> str:
        """The name in tables and directories."""
        if self.rounds == 1:
            return "one shot"
        return f"{self.rounds} rounds, trained between" if self.between else f"{self.rounds} rounds"

    def of(self, job: Job) -> Job:
        """The job with this schedule."""
        return job.with_config(
            schedule=dataclasses.replace(job.config.schedule, rounds=self.rounds),
            between=dataclasses.replace(job.recipe, epochs=self.between) if self.between else None,
            recovery=dataclasses.replace(job.recipe, epochs=self.epochs),
        )


def variants(epochs: int, rounds: Sequence[int]) -> list[Variant]:
    """One shot, and all numbers of rounds without and with training in between, each with the same total of epochs."""
    wanted = sorted(set(rounds))
    shares = [epochs // number for number in wanted]
    trained = [Variant(n, each, epochs - each * (n - 1)) for n, each in zip(wanted, shares, strict=True)]
    return [Variant(1, 0, epochs), *(Variant(n, 0, epochs) for n in wanted), *trained]
