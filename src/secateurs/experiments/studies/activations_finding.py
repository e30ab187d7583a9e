"""What the activations study reports: scores and accuracies by activation, as a sentence, a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from secateurs.experiments.job import Job
from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import standalone
from secateurs.experiments.studies.points import points
from secateurs.experiments.studies.retrain import SeedResult
from secateurs.experiments.studies.wording import SPREAD, sides
from secateurs.utils import format_mean, legend

ZERO, MEDIAN, CONTROLS = "nexp", "nexp-median", ("l1", "random")
CRITERIA = (ZERO, MEDIAN, *CONTROLS)
HEADERS = ("activation", "criterion", "spread (CV)", "at one score, %", "correlation with nexp", "accuracy, %")
SHOWN = (("spread", 1.0, "spread of the scores (CV)"), ("level", 100.0, "units at one score, %"))


@dataclass(frozen=True)
class ActivationScores:
    """One criterion in a network with one activation, for one seed.

    Attributes:
        spread: coefficient of variation of the scores (standard deviation over mean), per group.
        level: the largest share of units with an equal score, per group.
        correlation: rank correlation of the scores with those of NEXP with threshold 0, per group.
        accuracy: accuracy of the pruned network after recovery.
    """

    spread: Mapping[str, float]
    level: Mapping[str, float]
    correlation: Mapping[str, float]
    accuracy: float


Results = Mapping[str, Sequence[SeedResult[ActivationScores]]]
"""One result per seed, for each activation."""


def summarise(results: Results, job: Job, epochs: tuple[int, int], command: str) -> Finding:
    """Put the results into a sentence, a table and a picture."""
    seeds = len(next(iter(results.values())))
    return Finding(
        study="activations",
        title=f"NEXP's threshold and the activation; pruned to {job.config.budget}",
        sentence=_sentence(results),
        headers=HEADERS,
        rows=[row for name in results for row in _rows(results, name)],
        data={
            "epochs": epochs,
            "budget": str(job.config.budget),
            "rounds": {name: [dataclasses.asdict(result) for result in by_seed] for name, by_seed in results.items()},
        },
        command=command,
        notes=[
            f"Mean and standard deviation over {seeds} seeds. The spread of the scores (standard deviation over mean), "
            "the largest share of units with an equal score, and the rank correlation (Spearman) with the scores of "
            "threshold 0 are computed within each group and averaged over the groups. Accuracy is on the test data, "
            f"after {epochs[0]} epochs, the cut, and {epochs[1]} epochs; the dense network is trained for as long. "
            f"{SPREAD}",
            "A unit with one value per input exceeds its own median for half of the inputs, whatever it computes. "
            "`nexp-median` then gives all units an equal score, unless half of a unit's values are equal, as after "
            "ReLU.",
        ],
        figures={"scores": _picture(results)},
    )


def _rows(results: Results, activation: str) -> list[list[str]]:
    dense = format_mean([result.dense for result in results[activation]], 1, 100)
    rows = [[activation, "dense", "", "", "", dense]]
    for criterion in CRITERIA:
        cells = [
            format_mean(_means(results, activation, criterion, "spread")),
            format_mean(_means(results, activation, criterion, "level"), 0, 100),
            format_mean(_means(results, activation, criterion, "correlation")),
            format_mean(_accuracies(results, activation, criterion), 1, 100),
        ]
        rows.append([activation, criterion, *cells])
    return rows


def _means(results: Results, activation: str, criterion: str, measure: str) -> list[float]:
    """Per seed, the mean over groups."""
    return [mean(getattr(result.seen[criterion], measure).values()) for result in results[activation]]


def _accuracies(results: Results, activation: str, criterion: str) -> list[float]:
    return [result.seen[criterion].accuracy for result in results[activation]]


def _sentence(results: Results) -> str:
    def each(criterion: str, measure: str, digits: int, scale: float) -> str:
        values = {name: scale * mean(_means(results, name, criterion, measure)) for name in results}
        return ", ".join(f"{value:.{digits}f} ({name})" for name, value in values.items())

    def ends(criterion: str, control: str) -> str:
        pairs = {name: (_accuracies(results, name, criterion), _accuracies(results, name, control)) for name in results}
        return f"{criterion} ends {sides(pairs, control)}"

    return (
        f"The coefficient of variation of NEXP's scores is {each(ZERO, 'spread', 2, 1)} with threshold 0 and "
        f"{each(MEDIAN, 'spread', 2, 1)} with the median as threshold, where {each(MEDIAN, 'level', 0, 100)} % of a "
        f"group's units share the most frequent score. After recovery {ends(ZERO, 'random')}; {ends(MEDIAN, ZERO)}."
    )


def _picture(results: Results) -> str:
    with page_figure(3.2) as figure:
        panels = figure.subplots(1, 3)
        for axes, (measure, scale, label) in zip(panels, SHOWN, strict=False):
            series = {c: {name: _means(results, name, c, measure) for name in results} for c in CRITERIA}
            points(axes, series, scale)
            axes.set_ylabel(label)
        ends = {c: {name: _accuracies(results, name, c) for name in results} for c in CRITERIA}
        dense = {name: [result.dense for result in seeds] for name, seeds in results.items()}
        points(panels[2], {**ends, "dense": dense}, 100)
        panels[2].set_ylabel("accuracy after recovery, %")
        legend(figure, *panels[2].get_legend_handles_labels())
        return standalone(figure, "Spread of scores, units at one score, and accuracy after recovery, by activation")
