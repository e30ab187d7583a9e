"""Which statistics are collected in which stage, and when all that a score or a weight needs is complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from secateurs.observe import Observations, Wanted, memory, observe
from secateurs.pruning.layerwise.stages import Stages
from secateurs.structure import Tap
from secateurs.utils import Progress

Needs = Mapping[str, Wanted]
"""The name of a consumer (a group or a weight) → the statistics that it needs."""


class StatisticsSchedule:
    """The stages in which statistics are collected, used and freed."""

    def __init__(self, stages: tuple[str, ...], needs: Needs):
        """Plan the collection.

        Args:
            stages: the names of all stages, in order.
            needs: the statistics that each consumer needs.
        """
        self._stages = stages
        self._collected_in = {tap: self._stage_of(tap) for wanted in needs.values() for tap in wanted}
        self._completed_in = {
            name: max((self._collected_in[tap] for tap in wanted), default=0) for name, wanted in needs.items()
        }
        self._wanted: dict[Tap, dict[Any, None]] = defaultdict(dict)
        self._needed_until: dict[Tap, int] = defaultdict(int)
        for name, wanted in needs.items():
            for tap, kinds in wanted.items():
                self._wanted[tap] |= dict.fromkeys(kinds)
                self._needed_until[tap] = max(self._needed_until[tap], self._completed_in[name])

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages up to the last one in which something is collected."""
        return self._stages[: max(self._collected_in.values(), default=-1) + 1]

    def collected_in(self, stage: str) -> Wanted:
        """The statistics that are collected in a stage."""
        return {tap: kinds for tap, kinds in self._wanted.items() if self._stages[self._collected_in[tap]] == stage}

    def completed_in(self, stage: str) -> list[str]:
        """The consumers whose last statistic is collected in this stage."""
        return [name for name, last in self._completed_in.items() if self._stages[last] == stage]

    def live_in(self, stage: str) -> Wanted:
        """The statistics that are collected up to a stage and still needed in it."""
        return self._live(self._stages.index(stage), 0)

    def live_after(self, stage: str) -> Wanted:
        """The statistics that are collected up to a stage and needed after it."""
        return self._live(self._stages.index(stage), 1)

    def peak_memory(self, samples: int) -> int:
        """The largest size of all statistics that are alive at a time, in bytes; see `secateurs.observe.memory`."""
        return max((memory(self.live_in(stage), samples) for stage in self.stages), default=0)

    def _live(self, number: int, offset: int) -> Wanted:
        return {
            tap: kinds
            for tap, kinds in self._wanted.items()
            if self._collected_in[tap] <= number and self._needed_until[tap] >= number + offset
        }

    def _stage_of(self, tap: Tap) -> int:
        """The number of the stage in which a tap's module runs; the last one for modules outside of all layers."""
        module = f"{tap.site.module}."
        inside = (number for number, name in enumerate(self._stages) if name and module.startswith(f"{name}."))
        return next(inside, len(self._stages) - 1)


def observe_by_stages(
    stages: Stages,
    needs: Needs,
    on_complete: Callable[[list[str], Observations], None],
    progress: Progress,
    purpose: str = "",
) -> None:
    """Collect statistics with the memory that one layer needs.

    Args:
        stages: the stages of the model, on the data.
        needs: the statistics that each consumer needs.
        on_complete: called after each stage with the names of the consumers whose statistics are complete, and the
            statistics; the weights of the layer are still loaded.
        progress: wraps the iteration over the data.
        purpose: is added to the description that `progress` shows.

    Raises:
        DataError: see `secateurs.observe.observe`.
    """
    schedule = StatisticsSchedule(stages.names, needs)
    observations: dict[Any, Any] = {}
    for stage in schedule.stages:
        with stages.at(stage) as data:
            description = f"observing {stage or 'the model after its layers'}{purpose}"
            observations |= observe(stages.model, data, schedule.collected_in(stage), progress, description)
            on_complete(schedule.completed_in(stage), observations)
        live = schedule.live_after(stage)
        observations = {key: statistic for key, statistic in observations.items() if key[0] in live}
