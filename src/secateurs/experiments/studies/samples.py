"""The samples study: how many samples, and of which kind, a criterion needs to rank units as with many samples."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from itertools import count, product
from typing import Any

import torch

from secateurs.criteria import parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.errors import SecateursWarning, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.specs import is_random, read_dataset
from secateurs.experiments.studies.agreement import agreement
from secateurs.experiments.studies.baselines import SOURCES, Draws, labels_of
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.samples_finding import Record, headers, notes, picture, sentence, table
from secateurs.experiments.studies.threads import is_tiny, one_thread
from secateurs.structure import trace
from secateurs.utils import Progress, silent

CRITERIA = ("nexp", "ssi", "ndi", "random")
SIZES = (16, 32, 60, 128, 256)
KEEP = 0.5
"""The share of every group's units that is kept, for the overlap of the removed units."""


def run_samples(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    sizes: Sequence[int] = SIZES,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Score on few samples and on many others, and measure the agreement of both.

    The many samples are half of the data, at most as many as the job says. The few are drawn from the rest; each larger
    draw contains the smaller ones.

    Args:
        job: names the model and the data.
        criteria: the criteria that score the units.
        sizes: the numbers of samples to draw.
        seeds: repetitions; each divides the data and draws samples again.
        progress: wraps the seeds.
        command: the command that repeats the study.

    Raises:
        UsageError: there is too little data, or the data is generated.
        CriterionError: a criterion is unknown or cannot score the model.
    """
    names, sizes = [parse_criterion(name).name for name in criteria], sorted(set(sizes))
    dataset = _dataset(job, sizes)
    many = min(job.samples, len(dataset) // 2)
    model = job.dense()
    records: list[Record] = []
    with one_thread(is_tiny(model)), warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)  # about few samples, which are the subject of the study
        structure = trace(model, first_batch(job.calibration()).sample(2), job.config.keep, job.config.kinds)
        labels = labels_of(dataset)
        left_out = _left_out(dataset, labels)
        sources, numbers = [source for source in SOURCES if source not in left_out], count()
        for seed in progress(range(seeds), "scoring"):
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
            reference, draws = (
                Draws(dataset, part, labels, job.batch_size, seed) for part in (order[:many], order[many:])
            )
            # Each scoring has another seed: with one seed, random scores would agree with themselves.
            of_many = score_many(model, reference.of("random", many), names, structure, seed=next(numbers))
            for source, size in product(sources, sizes):
                of_few = score_many(model, draws.of(source, size), names, structure, seed=next(numbers))
                for name in names:
                    records.append(Record(name, source, size, seed, agreement(of_few[name], of_many[name], KEEP)))
    return Finding(
        study="samples",
        title=f"Few samples against {many:,} others",
        sentence=sentence(records, many),
        headers=headers(sizes),
        rows=table(records),
        data={"reference": many, "keep": KEEP, "records": [dataclasses.asdict(record) for record in records]},
        command=command,
        notes=notes(many, seeds, left_out, [name for name in names if parse_criterion(name).needs_loss]),
        figures={"agreement": picture(records)},
    )


def _dataset(job: Job, sizes: Sequence[int]) -> Any:
    if not sizes or sizes[0] < 2:
        raise UsageError(f"give numbers of samples ≥ 2, not {list(sizes)}")
    if is_random(job.data):
        raise UsageError(f"the samples are drawn from data, not from {job.data!r}: give a data set (--data)")
    dataset: Any = read_dataset(job.data, job.images, job.text)
    if isinstance(dataset[0], dict):
        raise UsageError(f"this study needs inputs of one tensor each, such as images, but {job.data!r} is text")
    if len(dataset) < 2 * sizes[-1]:
        raise UsageError(
            f"{job.data} has {len(dataset)} samples, so at most half of them can be drawn, not {sizes[-1]}: give "
            "smaller numbers (--sizes)"
        )
    return dataset


def _left_out(dataset: Any, labels: Sequence[int] | None) -> dict[str, str]:
    """Sources that this data does not allow, and why."""
    left_out = {} if labels is not None else {"stratified": "the data has no classes"}
    return left_out if dataset[0][0].is_floating_point() else {**left_out, "gaussian": "the inputs are integers"}
