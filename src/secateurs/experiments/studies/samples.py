"""How many samples a criterion needs, and which: scores of few against scores of many others."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from statistics import mean
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from secateurs.criteria import parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.errors import SecateursWarning, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.specs import is_random, read_dataset
from secateurs.experiments.studies.agreement import Agreement, agreement
from secateurs.experiments.studies.baselines import SOURCES, Draws, labels_of
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import curve, standalone
from secateurs.experiments.studies.threads import one_thread, tiny
from secateurs.structure import trace
from secateurs.utils import STYLE, WIDTH, Progress, legend, silent, spread

CRITERIA = ("nexp", "ssi", "ndi", "random")
SIZES = (16, 32, 60, 128, 256)
KEEP = 0.5
"""The share of every group's units that is kept where it is asked which ones go."""

MEASURES = {"cosine": "cosine", "spearman": "Spearman's ρ", "overlap": "overlap of what is removed"}


@dataclass(frozen=True)
class Record:
    """How far scores of few samples agree with scores of many others.

    Attributes:
        criterion, source, size, seed: of what.
        agreement: mean over the groups.
    """

    criterion: str
    source: str
    size: int
    seed: int
    agreement: Agreement


def run_samples(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    sizes: Sequence[int] = SIZES,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Score on few samples and on many others, and see how far both agree.

    The many are half of the data, at most as many as the job says; the few are drawn from the rest, each larger draw
    holding the smaller ones.

    Args:
        job: its data is drawn from.
        criteria: to look at.
        sizes: of the draws.
        seeds: repetitions; each divides and draws anew.
        progress: wraps the seeds.
        command: how to do it again.

    Returns:
        What was found.

    Raises:
        UsageError: there is too little data, or none to draw from.
        CriterionError: a criterion is unknown or cannot score the model.
    """
    names, wanted = [parse_criterion(name).name for name in criteria], sorted(set(sizes))
    dataset = _dataset(job, wanted)
    many = min(job.samples, len(dataset) // 2)
    model = job.dense()
    found: list[Record] = []
    with one_thread(tiny(model)), warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)  # about so few samples, which is the question
        structure = trace(model, first_batch(job.calibration()).sample(2), job.keep, job.kinds)
        labels = labels_of(dataset)
        left_out = _left_out(dataset, labels)
        sources, numbers = [its for its in SOURCES if its not in left_out], count()
        for seed in progress(range(seeds), "scoring"):
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
            reference, draws = (
                Draws(dataset, part, labels, job.batch_size, seed) for part in (order[:many], order[many:])
            )
            # Each scoring has a seed of its own: else random scores would agree with themselves.
            of_many = score_many(model, reference.of("random", many), names, structure, seed=next(numbers))
            for source, size in product(sources, wanted):
                of_few = score_many(model, draws.of(source, size), names, structure, seed=next(numbers))
                found += [
                    Record(name, source, size, seed, agreement(of_few[name], of_many[name], KEEP)) for name in names
                ]
    return Finding(
        study="samples",
        title=f"Few samples against {many:,} others",
        sentence=sentence(found, many),
        headers=headers(wanted),
        rows=table(found),
        data={"reference": many, "keep": KEEP, "records": [dataclasses.asdict(its) for its in found]},
        command=command,
        notes=_notes(many, seeds, left_out, [name for name in names if parse_criterion(name).needs_loss]),
        figures={"agreement": picture(found)},
    )


def headers(sizes: Sequence[int]) -> list[str]:
    """Of the table."""
    middle = sizes[len(sizes) // 2]
    first = [f"cosine at {middle}", "by chance", f"ρ at {middle}"]
    return ["criterion", "samples", *first, *(f"overlap at {size}" for size in sizes), "by chance"]


def table(found: Sequence[Record]) -> list[list[str]]:
    """One row per criterion and source: mean and standard deviation over the seeds."""
    sizes = sorted({its.size for its in found})
    rows = []
    for criterion, source in product(
        *(dict.fromkeys(getattr(its, name) for its in found) for name in ("criterion", "source"))
    ):
        of = {size: _agreements(found, criterion, source, size) for size in sizes}
        middle, every = of[sizes[len(sizes) // 2]], [its for agreements in of.values() for its in agreements]
        cells = [spread([its.cosine for its in middle], 3), f"{mean(its.cosine_by_chance for its in middle):.3f}"]
        cells += [spread([its.spearman for its in middle])]
        cells += [spread([its.overlap for its in of[size]]) for size in sizes]
        rows.append([criterion, source, *cells, f"{mean(its.overlap_by_chance for its in every):.2f}"])
    return rows


def sentence(found: Sequence[Record], many: int) -> str:
    """What the middle number of samples is worth, of every source and criterion."""
    sizes = sorted({its.size for its in found})
    middle, largest = sizes[len(sizes) // 2], sizes[-1]
    texts = []
    for name in dict.fromkeys(its.criterion for its in found):
        of = {source: _agreements(found, name, source, middle) for source in dict.fromkeys(r.source for r in found)}
        most = mean(its.overlap for its in _agreements(found, name, "random", largest))
        few = of.pop("random")
        others = ", ".join(f"{mean(its.overlap for its in values):.2f} with {source}" for source, values in of.items())
        texts.append(
            f"{name} has a cosine of {mean(its.cosine for its in few):.3f} (by chance "
            f"{mean(its.cosine_by_chance for its in few):.3f}) but an overlap of what is removed of "
            f"{mean(its.overlap for its in few):.2f} ({most:.2f} with {largest}; {others})"
        )
    chance = mean(its.agreement.overlap_by_chance for its in found)
    return f"Scored on {middle} samples in the place of {many:,} others, {'; '.join(texts)}; chance is {chance:.2f}."


def picture(found: Sequence[Record]) -> str:
    """Agreement against the number of samples: a line per source, a column per criterion, a row per measure, as SVG."""
    criteria, sources = (list(dict.fromkeys(getattr(its, name) for its in found)) for name in ("criterion", "source"))
    sizes = sorted({its.size for its in found})
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2 * len(MEASURES) + 0.4), layout="constrained")
        grid = figure.subplots(len(MEASURES), len(criteria), squeeze=False, sharex=True, sharey="row")
        for lines, label in zip(grid, MEASURES.values(), strict=True):
            lines[0].set_ylabel(label)
        for column, criterion in zip(grid.T, criteria, strict=True):
            for axes, measure in zip(column, MEASURES, strict=True):
                for number, source in enumerate(sources):
                    of = [_agreements(found, criterion, source, size) for size in sizes]
                    curve(axes, sizes, [[getattr(its, measure) for its in values] for values in of], number, source)
                of = [_agreements(found, criterion, "random", size) for size in sizes]
                level = [mean(getattr(its, f"{measure}_by_chance") for its in values) for values in of]
                axes.plot(sizes, level, color="grey", lw=1, ls="--", label="chance")
                axes.set_xscale("log", base=2)
                axes.set_xticks(sizes, list(map(str, sizes)))
            column[0].set_title(criterion, fontsize=10)
            column[-1].set_xlabel("samples")
        legend(figure, *grid[0, 0].get_legend_handles_labels())
        return standalone(figure, "agreement with many samples against their number")


def _agreements(found: Sequence[Record], criterion: str, source: str, size: int) -> list[Agreement]:
    wanted = (criterion, source, size)
    return [its.agreement for its in found if (its.criterion, its.source, its.size) == wanted]


def _dataset(job: Job, sizes: Sequence[int]) -> Any:
    if not sizes or sizes[0] < 2:
        raise UsageError(f"give numbers of samples ≥ 2, not {list(sizes)}")
    if is_random(job.data):
        raise UsageError(f"the samples are drawn from data, not from {job.data!r}: give a data set (--data)")
    dataset: Any = read_dataset(job.data, job.images, job.text)
    if isinstance(dataset[0], dict):
        raise UsageError(f"this study draws inputs that are one tensor each, such as images, not text ({job.data!r})")
    if len(dataset) < 2 * sizes[-1]:
        raise UsageError(
            f"{job.data} has {len(dataset)} samples: the largest draw can have half of them, not {sizes[-1]} (--sizes)"
        )
    return dataset


def _left_out(dataset: Any, labels: Sequence[int] | None) -> dict[str, str]:
    """Sources that this data does not allow, and why."""
    left_out = {} if labels is not None else {"stratified": "the data has no classes"}
    return left_out if dataset[0][0].is_floating_point() else {**left_out, "gaussian": "the inputs are integers"}


def _notes(many: int, seeds: int, left_out: Mapping[str, str], needing: Sequence[str]) -> list[str]:
    notes = [
        f"Each of {seeds} seeds scores {many:,} samples, and few of the others; mean ± standard deviation over seeds, "
        "of the mean over groups. Overlap: of the half of each group's units that one removes, the share that the "
        "other removes too. By chance: what the same scores would reach on average in random order.",
        "Samples: random draws; stratified, as many of each class; gaussian, standard normal numbers; shuffled, each "
        "sample's values in random order.",
        *(f"Left out: {source} ({why})." for source, why in left_out.items()),
    ]
    return (
        [*notes, f"For {', '.join(needing)}, Gaussian inputs have the labels of a random draw."] if needing else notes
    )
