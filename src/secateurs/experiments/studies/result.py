"""The result of the planted study, as data and as text."""

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
from secateurs.utils import format_mean

TITLE = "Planted redundancy: which criteria find it"
FOUND = 0.9
"""The area under the curve from which on a criterion is said to find a kind of redundancy."""


@dataclass(frozen=True)
class Areas:
    """Areas under the curve for one criterion and one kind; see `planted.areas`."""

    each: float
    lowest: float


@dataclass(frozen=True)
class PlantedSeed:
    """The measurements of one seed.

    Attributes:
        areas: areas under the curve, per criterion and kind of redundancy.
        trained, planted: accuracy on the test images before and after planting.
        correlations: correlation of the activations of each near-duplicate and the original.
    """

    areas: Mapping[str, Mapping[str, Areas]]
    trained: float
    planted: float
    correlations: Sequence[float]


@dataclass(frozen=True)
class PlantedStudy:
    """How well criteria find planted redundancy.

    Attributes:
        rounds: the measurements of each seed.
        left_out: criteria that cannot score the layer, and why.
        epochs: of training.
        samples: number of samples that criteria score on.
    """

    rounds: Sequence[PlantedSeed]
    left_out: Mapping[str, str]
    epochs: int
    samples: int

    @property
    def criteria(self) -> list[str]:
        """The measured criteria, in the order of the families."""
        return list(self.rounds[0].areas)

    def best(self, criterion: str, kind: str) -> tuple[str, list[float]]:
        """The name of the area that is reported, and one value per seed; see `planted.areas`."""
        areas = [seed.areas[criterion][kind] for seed in self.rounds]
        each, lowest = [area.each for area in areas], [area.lowest for area in areas]
        return ("lowest", lowest) if 0.5 < mean(each) < mean(lowest) else ("each", each)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows: mean and standard deviation over the seeds."""
        rows = [[name, *(self._cell(name, kind) for kind in REDUNDANCIES)] for name in self.criteria]
        return ["criterion", *REDUNDANCIES], rows

    @property
    def notes(self) -> list[str]:
        """Explanations for readers."""
        correlations = [r for seed in self.rounds for r in seed.correlations]
        trained = mean(seed.trained for seed in self.rounds)
        planted = mean(seed.planted for seed in self.rounds)
        seeds = f"{len(self.rounds)} seed{'s' * (len(self.rounds) > 1)}"
        sets = "; ".join(f"{number} × {REDUNDANCIES[kind]} ({kind})" for kind, number in SETS.items())
        lines = [
            "The probability that a criterion scores redundant units lower than untouched ones: 1 is perfect, 0.5 is "
            f"chance, 0 ranks redundant units above all others. Mean ± standard deviation over {seeds}; each trains, "
            "plants and samples anew.",
            "A criterion can reveal a redundant set in two ways: all units of the set score low, or the units that can "
            "be removed one after the other score low and the last one does not. So two areas under the curve are "
            "computed: each redundant unit against untouched units, and the lowest unit of each set against the lowest "
            "of equally many untouched units. Chance is 0.5 for both. The table shows the first, or the second (*) if "
            "both means are above chance and the second is larger.",
            f"Planted into a convolution of {UNITS} units: {sets}. The norms of weights and the scales of batch norm "
            "match those of trained units.",
            f"Accuracy on test images: {trained:.1%} as trained, {planted:.1%} planted. Only near-duplicates change "
            f"the function; the correlation of their activations with the originals' is {min(correlations):.3f} to "
            f"{max(correlations):.3f}.",
            f"{self.samples:,} labelled samples; {self.epochs} epochs of training.",
        ]
        return lines + [f"Left out: {name} ({reason})." for name, reason in self.left_out.items()]

    def finding(self, command: str = "") -> Finding:
        """The result as a finding, to be shown and written.

        Args:
            command: the command that repeats the study.
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
        """The criteria that find each kind."""
        finders = {kind: [n for n in self.criteria if mean(self.best(n, kind)[1]) >= FOUND] for kind in REDUNDANCIES}
        texts = "; ".join(f"{kind} by {', '.join(names) or 'none'}" for kind, names in finders.items())
        return f"With an area under the curve of at least {FOUND:g}, {texts}."

    def _summary(self, criterion: str, kind: str) -> dict[str, Any]:
        which, values = self.best(criterion, kind)
        return {"area": which, "mean": mean(values), "std": stdev(values) if len(values) > 1 else None}

    def _cell(self, criterion: str, kind: str) -> str:
        which, values = self.best(criterion, kind)
        return format_mean(values) + ("*" if which == "lowest" else "")
