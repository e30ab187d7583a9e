"""What the dynamics study reports: when the order of units settles, as a sentence, a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import mean

from torch import Tensor

from secateurs.experiments.job import Job
from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, standalone
from secateurs.utils import INK, format_mean, legend

RANDOM = "random"
SETTLED = 0.9
"""An order has settled once its correlation with the last one stays at least as high."""

WHEN = ("at the start", "halfway", "at the end")
HEADERS = (
    "criterion",
    "group",
    *(f"mean {when}" for when in WHEN),
    *(f"order {when}" for when in WHEN[:2]),
    "settled, %",
)


@dataclass(frozen=True)
class Course:
    """The scores of one criterion during one training: per group, a value for each record.

    Attributes:
        mean: mean score.
        correlation: rank correlation (Spearman) with the scores of the last record.
    """

    mean: Mapping[str, Sequence[float]]
    correlation: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Tensor]]) -> Course:
        """The course of recorded scores: for each record, per group, [units]."""
        last = records[-1]
        return cls(
            {group: [float(record[group].mean()) for record in records] for group in last},
            {group: [correlation(record[group], last[group]) for record in records] for group in last},
        )

    def settled(self, group: str) -> float:
        """The share of the training after which the order of a group has settled; records are evenly spaced."""
        backwards = self.correlation[group][::-1]
        settled = len(list(takewhile(lambda value: value >= SETTLED, backwards)))
        return 1 - (settled - 1) / (len(backwards) - 1)


Seeds = Sequence[Mapping[str, Course]]
"""The results: for each seed, a course per criterion."""


def summarise(seeds: Seeds, steps: Sequence[int], figures: Mapping[str, str], job: Job, command: str) -> Finding:
    """Put the results into a sentence, a table and a picture beside the given ones."""
    first = next(iter(seeds[0]))
    groups = list(seeds[0][first].mean)
    return Finding(
        study="dynamics",
        title=f"Scores of the units of {job.model} while it trains",
        sentence=_sentence(seeds),
        headers=HEADERS,
        rows=[
            *(_row(seeds, first, [group], group) for group in groups),
            *(_row(seeds, name, list(seeds[0][name].mean), "all") for name in seeds[0]),
        ],
        data={
            "steps": steps,
            "rounds": [{name: dataclasses.asdict(course) for name, course in seed.items()} for seed in seeds],
        },
        command=command,
        notes=[
            f"Mean and standard deviation over {len(seeds)} seeds. Order: the rank correlation (Spearman) with the "
            f"scores of the last record, at step {steps[-1]}, averaged over the groups. It has settled at the share of "
            f"the training after which it stays at {SETTLED:g} or above. Random scores are drawn anew for each record. "
            "Batch norm has statistics of the data from the start. NDI is calibrated across the network at each step, "
            "so it compares units with each other at that step; its components are absolute.",
        ],
        figures={**figures, "settling": _picture(seeds, steps)},
    )


def _row(seeds: Seeds, name: str, groups: Sequence[str], label: str) -> list[str]:
    courses = [seed[name] for seed in seeds]
    middle = len(courses[0].mean[groups[0]]) // 2
    means = [
        format_mean([mean(course.mean[g][when] for g in groups) for course in courses], 3) for when in (0, middle, -1)
    ]
    orders = [format_mean(_order(seeds, name, when, groups)) for when in (0, middle)]
    return [name, label, *means, *orders, format_mean(_settled(seeds, name, groups), 0, 100)]


def _order(seeds: Seeds, name: str, when: int, groups: Sequence[str] = ()) -> list[float]:
    """Per seed, the correlation of a record with the last, mean over groups."""
    return [mean(seed[name].correlation[g][when] for g in groups or seed[name].correlation) for seed in seeds]


def _settled(seeds: Seeds, name: str, groups: Sequence[str] = ()) -> list[float]:
    return [mean(seed[name].settled(g) for g in groups or seed[name].correlation) for seed in seeds]


def _sentence(seeds: Seeds) -> str:
    first, *others = seeds[0]
    courses = [seed[first] for seed in seeds]
    middle = len(next(iter(courses[0].mean.values()))) // 2
    gains = {g: mean(course.mean[g][-1] - course.mean[g][0] for course in courses) for g in courses[0].mean}
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    settled = {name: mean(_settled(seeds, name)) for name in others}
    beside = ", ".join(f"{name}: {100 * share:.0f} %" for name, share in settled.items())
    return (
        f"The order of units by {first} at the start of training has a rank correlation of "
        f"{format_mean(_order(seeds, first, 0))} with the order at the end "
        f"(random: {format_mean(_order(seeds, RANDOM, 0))}); "
        f"halfway it is {format_mean(_order(seeds, first, middle))}. The order settles (≥ {SETTLED:g}) after "
        f"{format_mean(_settled(seeds, first), 0, 100)} % of the training ({beside}). The mean {first} of a group "
        f"changes by {gains[least]:+.2f} ({least}) to {gains[most]:+.2f} ({most})."
    )


def _picture(seeds: Seeds, steps: Sequence[int]) -> str:
    with page_figure(3.4) as figure:
        axes = figure.add_subplot()
        for number, name in enumerate(seeds[0]):
            curve(axes, steps, [_order(seeds, name, when) for when in range(len(steps))], number, name)
        axes.axhline(SETTLED, color=INK, lw=0.8, ls=":")
        axes.set_xlabel("training step")
        axes.set_ylabel("rank correlation with the last")
        legend(figure, *axes.get_legend_handles_labels())
        return standalone(figure, "When the order of units settles in training")
