"""What the initialisation study reports: scores and accuracies, as a sentence, a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple

from secateurs.experiments.job import Job
from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import standalone
from secateurs.experiments.studies.points import points
from secateurs.experiments.studies.retrain import SeedResult
from secateurs.experiments.studies.wording import SPREAD, against
from secateurs.utils import INK, format_mean, legend

EARLY, LATE = "pruned at initialisation", "pruned after training"
HEADERS = ("criterion", "rank correlation", "removed alike, %", f"{EARLY}, %", f"{LATE}, %")


@dataclass(frozen=True)
class ScoreChange:
    """One criterion before and after training, for one seed.

    Attributes:
        correlation: rank correlation of the scores at initialisation with the scores after training, per group.
        overlap: share of the units removed after training (half of each group) that are also removed at
            initialisation, per group.
        early: final accuracy of the network pruned at initialisation.
        late: final accuracy of the network pruned after training.
    """

    correlation: Mapping[str, float]
    overlap: Mapping[str, float]
    early: float
    late: float


class Column(NamedTuple):
    """One criterion over all seeds: one value per seed; correlation and overlap are means over groups."""

    correlation: list[float]
    overlap: list[float]
    early: list[float]
    late: list[float]


def summarise(results: Sequence[SeedResult[ScoreChange]], job: Job, epochs: tuple[int, int], command: str) -> Finding:
    """Put the results into a sentence, a table and a picture."""
    columns = {name: _column(results, name) for name in results[0].seen}
    dense = [result.dense for result in results]
    rows = [["dense", "", "", format_mean(dense, 1, 100), format_mean(dense, 1, 100)]]
    for name, column in columns.items():
        rows.append([name, format_mean(column.correlation), *(format_mean(values, 1, 100) for values in column[1:])])
    return Finding(
        study="initialisation",
        title=f"Scores at initialisation and after training; {job.model} pruned to {job.config.budget}",
        sentence=_sentence(columns),
        headers=HEADERS,
        rows=rows,
        data={
            "epochs": epochs,
            "budget": str(job.config.budget),
            "rounds": [dataclasses.asdict(result) for result in results],
        },
        command=command,
        notes=[
            f"Mean and standard deviation over {len(results)} seeds. Two measures are averaged over the groups: the "
            "rank correlation (Spearman) of the scores at initialisation with the scores after training (0 by chance), "
            "and the share of the lower half after training that is in the lower half at initialisation (50 % by "
            "chance). Batch norm has statistics of the data at both times. Accuracy is on the test data, after "
            f"{epochs[0]} and {epochs[1]} epochs for all networks, which are cut before the first training or between "
            f"the two. {SPREAD}",
        ],
        figures={"scores": _picture(columns, dense)},
    )


def _column(results: Sequence[SeedResult[ScoreChange]], name: str) -> Column:
    changes = [result.seen[name] for result in results]
    return Column(
        [mean(change.correlation.values()) for change in changes],
        [mean(change.overlap.values()) for change in changes],
        [change.early for change in changes],
        [change.late for change in changes],
    )


def _sentence(columns: Mapping[str, Column]) -> str:
    name, first, random = next(iter(columns)), next(iter(columns.values())), columns["random"]
    others = {other: mean(column.correlation) for other, column in columns.items() if other not in (name, "random")}
    closest = max(others, key=lambda other: others[other], default="")
    beside = f"; {closest}, the highest of the others: {others[closest]:.2f}" if others else ""
    return (
        f"The ranking of {name} at initialisation has a correlation of {format_mean(first.correlation)} with the "
        f"ranking after training (random: {format_mean(random.correlation)}{beside}). At initialisation {name} picks "
        f"{format_mean(first.overlap, 0, 100)} % of the units that it would remove after training (random: "
        f"{format_mean(random.overlap, 0, 100)} %). A network pruned at initialisation ends "
        f"{against(first.early, random.early, 'random')}; a network pruned after training ends "
        f"{against(first.late, random.late, 'random')}."
    )


def _picture(columns: Mapping[str, Column], dense: Sequence[float]) -> str:
    with page_figure(3.4) as figure:
        left, right = figure.subplots(1, 2)
        points(left, {"": {name: column.correlation for name, column in columns.items()}})
        left.axhline(0, color=INK, lw=0.8, ls=":")
        left.set_ylabel("rank correlation with the scores after training")
        early, late = ({name: getattr(c, when) for name, c in columns.items()} for when in ("early", "late"))
        points(right, {EARLY: early, LATE: late}, 100)
        right.axhline(100 * mean(dense), color=INK, lw=1, ls="--", label="dense")
        right.set_ylabel("accuracy in the end, %")
        legend(figure, *right.get_legend_handles_labels())
        return standalone(figure, "Scores at initialisation against scores after training, and pruning at either time")
