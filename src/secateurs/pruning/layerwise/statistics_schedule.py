"""Observing stage by stage, for whatever needs statistics: it is told as soon as it has them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from secateurs.observe import Observations, Wanted, memory, observe
from secateurs.pruning.layerwise.stages import Stages
from secateurs.structure import Tap
from secateurs.utils import Progress

Needs = Mapping[str, Wanted]
"""Statistics that are needed, by the name of what needs them."""


class Due:
    """What is observed in which stage, and what has all that it needs then."""

    def __init__(self, stages: tuple[str, ...], needs: Needs):
        self._names, self._needs = stages, needs
        self._turns = {tap: self._turn(tap) for wanted in needs.values() for tap in wanted}
        self._last = {name: max((self._turns[tap] for tap in wanted), default=0) for name, wanted in needs.items()}
        self._wanted: dict[Tap, dict[Any, None]] = defaultdict(dict)
        self._until: dict[Tap, int] = defaultdict(int)
        for name, wanted in needs.items():
            for tap, kinds in wanted.items():
                self._wanted[tap] |= dict.fromkeys(kinds)
                self._until[tap] = max(self._until[tap], self._last[name])

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that there are to go through."""
        return self._names[: max(self._turns.values(), default=-1) + 1]

    def wanted(self, stage: str) -> Wanted:
        """What is observed in a stage."""
        return {tap: kinds for tap, kinds in self._wanted.items() if self._names[self._turns[tap]] == stage}

    def at(self, stage: str) -> list[str]:
        """Those that have all that they need after this stage, and not before."""
        return [name for name, last in self._last.items() if self._names[last] == stage]

    def held(self, stage: str, after: bool = False) -> Wanted:
        """What has been observed up to a stage and is still needed in it, or after it."""
        number = self._names.index(stage)
        return {
            tap: kinds
            for tap, kinds in self._wanted.items()
            if self._turns[tap] <= number and self._until[tap] >= number + after
        }

    def memory(self, samples: int) -> int:
        """The most bytes that statistics take at a time; see `secateurs.observe.memory`."""
        return max((memory(self.held(stage), samples) for stage in self.stages), default=0)

    def _turn(self, tap: Tap) -> int:
        inside = (n for n, name in enumerate(self._names) if name and f"{tap.site.module}.".startswith(f"{name}."))
        return next(inside, len(self._names) - 1)


def observe_by_stages(
    stages: Stages, needs: Needs, tell: Callable[[list[str], Observations], None], progress: Progress, why: str = ""
) -> None:
    """Collect statistics, with no more in memory than one layer needs.

    Args:
        stages: of the model, on the data.
        needs: of whom.
        tell: is told the names of those that have all that they need, while the weights of the layer are there.
        progress: wraps the iteration over the data.
        why: follows the name of the layer in what progress is shown as.

    Raises:
        DataError: see `secateurs.observe.observe`.
    """
    due = Due(stages.names, needs)
    observations: dict[Any, Any] = {}
    for stage in due.stages:
        with stages.at(stage) as data:
            description = f"observing {stage or 'what follows the layers'}{why}"
            observations |= observe(stages.model, data, due.wanted(stage), progress, description)
            tell(due.at(stage), observations)
        later = due.held(stage, after=True)
        observations = {key: its for key, its in observations.items() if key[0] in later}
