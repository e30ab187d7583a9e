"""What a study of planted redundancy found, as data and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.heatmap import heatmap
from secateurs.experiments.studies.network import UNITS
from secateurs.experiments.studies.planting import REDUNDANCIES, SETS
from secateurs.utils import spread

TITLE = "Planted redundancy: who finds it"
FOUND = 0.9
"""The area under the curve from which on a criterion is said to find a kind of redundancy."""


@dataclass(frozen=True)
class Areas:
    """Areas under the curve for one criterion and one kind; see `secateurs.studies.planted.areas`."""

    each: float
    lowest: float


@dataclass(frozen=True)
class PlantedSeed:
    """One seed.

    Attributes:
        areas: per criterion and kind of redundancy.
        trained, planted: accuracy on the test images before and after planting.
        correlations: of near-duplicates' activations with their originals'.
    """

    areas: Mapping[str, Mapping[str, Areas]]
    trained: float
    planted: float
    correlations: Sequence[float]


@dataclass(frozen=True)
class PlantedStudy:
    """Planted redundancy and who finds it.

    Attributes:
        rounds: one per seed.
        left_out: criteria that cannot score the layer, and why.
        epochs: of the training.
        samples: that criteria looked at.
    """

    rounds: Sequence[PlantedSeed]
    left_out: Mapping[str, str]
    epochs: int
    samples: int

    @property
    def criteria(self) -> list[str]:
        """What was measured, in the order of the families."""
        return list(self.rounds[0].areas)

    def best(self, criterion: str, kind: str) -> tuple[str, list[float]]:
        """Which of the two areas counts, and its values, one per seed; see `secateurs.studies.planted.areas`."""
        found = [its.areas[criterion][kind] for its in self.rounds]
        each, lowest = [its.each for its in found], [its.lowest for its in found]
        return ("lowest", lowest) if 0.5 < mean(each) < mean(lowest) else ("each", each)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows for people to read: mean and standard deviation over the seeds."""
        rows = [[name, *(self._cell(name, kind) for kind in REDUNDANCIES)] for name in self.criteria]
        return ["criterion", *REDUNDANCIES], rows

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        correlations = [r for its in self.rounds for r in its.correlations]
        trained = mean(its.trained for its in self.rounds)
        planted = mean(its.planted for its in self.rounds)
        seeds = f"{len(self.rounds)} seed{'s' * (len(self.rounds) > 1)}"
        sets = "; ".join(f"{number} × {REDUNDANCIES[kind]} ({kind})" for kind, number in SETS.items())
        lines = [
            "The probability that a criterion scores redundant units lower than untouched ones: 1 finds them all, 0.5 "
            f"is chance, 0 ranks them above all others. Mean ± standard deviation over {seeds}; each trains, plants "
            "and samples anew.",
            "A set of redundant units can be found in two ways. Each of its units scores low; or those score low that "
            "can go one after the other, and the last scores what it is worth without them. So two areas under the "
            "curve are computed: of each redundant unit against untouched ones; and of the lowest unit of each set "
            "against the lowest of as many untouched ones. Chance is 0.5 for both. The table shows the first, or the "
            "second (*) where both means are above chance and it is the larger one.",
            f"Planted into a convolution of {UNITS} units: {sets}. The norms of weights and the scales of batch norm "
            "are those of trained units.",
            f"Accuracy on test images: {trained:.1%} as trained, {planted:.1%} planted. Only near-duplicates change "
            f"the function; their activations correlate with the originals' at {min(correlations):.3f} to "
            f"{max(correlations):.3f}.",
            f"{self.samples:,} labelled samples; {self.epochs} epochs of training.",
        ]
        return lines + [f"Left out: {name} ({reason})." for name, reason in self.left_out.items()]

    def finding(self, command: str = "") -> Finding:
        """What was found, to be shown and written.

        Args:
            command: how to do it again.
        """
        headers, rows = self.table()
        means = [[mean(self.best(name, kind)[1]) for kind in REDUNDANCIES] for name in self.criteria]
        summary = {name: {kind: self._summary(name, kind) for kind in REDUNDANCIES} for name in self.criteria}
        return Finding(
            study="planted",
            title=TITLE,
            sentence=self.sentence,
            headers=headers,
            rows=rows,
            data={"kinds": REDUNDANCIES, "sets": SETS, "summary": summary, **dataclasses.asdict(self)},
            command=command,
            notes=self.notes,
            figures={"areas": heatmap(TITLE, self.criteria, list(REDUNDANCIES), np.array(means))},
        )

    @property
    def sentence(self) -> str:
        """Who finds which kind."""
        finders = {kind: [n for n in self.criteria if mean(self.best(n, kind)[1]) >= FOUND] for kind in REDUNDANCIES}
        found = "; ".join(f"{kind} by {', '.join(names) or 'none'}" for kind, names in finders.items())
        return f"With an area under the curve of at least {FOUND:g}, {found}."

    def _summary(self, criterion: str, kind: str) -> dict[str, Any]:
        which, values = self.best(criterion, kind)
        return {"area": which, "mean": mean(values), "std": stdev(values) if len(values) > 1 else None}

    def _cell(self, criterion: str, kind: str) -> str:
        which, values = self.best(criterion, kind)
        return spread(values) + ("*" if which == "lowest" else "")
