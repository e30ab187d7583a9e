"""The ablation study: how well scores predict the change of the loss without single units."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.criteria import masked_parameters, parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.errors import SecateursWarning, UsageError
from secateurs.evaluate import mean_loss
from secateurs.experiments.job import Job
from secateurs.experiments.studies.ablation_finding import picture, ranks, sentence, table
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.threads import is_tiny, one_thread
from secateurs.structure import Structure, trace
from secateurs.utils import Progress, silent

CRITERIA = ("nexp", "ssi", "ndi", "l1", "taylor", "fisher", "obs", "random")
RANDOM = "random"


def run_ablation(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    units: int = 64,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Set units to zero one by one, measure the loss, and correlate the loss changes with scores.

    Args:
        job: names the model, data to score on, and labelled data to measure the loss on.
        criteria: what scores the units; random is added.
        units: the most units of each group that are removed, drawn by the job's seed.
        seeds: repetitions of the scoring, each on other samples.
        progress: wraps the units.
        command: the command that repeats the study.

    Raises:
        UsageError: there is no data to measure the loss on, or there are too few units.
        CriterionError: a criterion is unknown or cannot score the model.
    """
    if not job.test or units < 3:
        raise UsageError("give labelled data to measure the loss on (--test), and at least 3 units per group (--units)")
    names = list(dict.fromkeys([*(parse_criterion(name).name for name in criteria), RANDOM]))
    model, test = job.dense(), job.tested()
    assert test is not None, "the job names data to test on"
    with one_thread(is_tiny(model)), warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)
        structure = trace(model, first_batch(job.calibration()).sample(2), job.config.keep, job.config.kinds)
        removed = _draw_units(structure, units, job.config.seed)
        dense = mean_loss(model, test)
        harm = {name: torch.empty(len(indices), dtype=torch.float64) for name, indices in removed.items()}
        pairs = [(name, index) for name, indices in removed.items() for index in range(len(indices))]
        for name, index in progress(pairs, "removing units"):
            harm[name][index] = loss_without(model, structure, name, removed[name][index], test) - dense
        scores: list[dict[str, dict[str, Tensor]]] = []
        for seed in progress(range(seeds), "scoring"):
            data = job.with_config(seed=seed).calibration()
            full = score_many(model, data, names, structure, aggregate=job.config.aggregate, seed=seed)
            scores.append({c: {n: values[removed[n]] for n, values in groups.items()} for c, groups in full.items()})
    results = [ranks(name, seed, scores[seed][name], harm) for name in names for seed in range(seeds)]
    return Finding(
        study="ablation",
        title="Scores against the loss without single units",
        sentence=sentence(results, harm),
        headers=["criterion", "within groups", "all units", *harm],
        rows=table(results, list(harm)),
        data={
            "dense": dense,
            "units": removed,
            "harm": _plain(harm),
            "scores": [{name: _plain(groups) for name, groups in of_seed.items()} for of_seed in scores],
            "ranks": [dataclasses.asdict(result) for result in results],
        },
        command=command,
        notes=[
            "Spearman's rank correlation of the scores with the change of the mean loss when all parameters of one "
            f"unit are set to zero (no compensation, batch norm unchanged), on {job.test}. A correlation of 1 means "
            "that the criterion orders the units by the loss change. Within groups: mean over the groups. A criterion "
            "whose scores do not compare across groups is not meant to rank all units together.",
            f"{sum(map(len, removed.values()))} units, at most {units} of each group. Scores from {seeds} seeds, each "
            "with other samples; mean ± standard deviation over the seeds, not over the units (it is zero for criteria "
            "of weights alone). The level of chance for so few units is estimated from 1,000 random orders.",
        ],
        figures={"scatter": picture(names, scores[0], harm)},
    )


def loss_without(model: nn.Module, structure: Structure, group: str, unit: int, test: Iterable[Any]) -> float:
    """The mean loss with all parameters of one unit set to zero."""
    keep = tuple(other for other in range(structure.group(group).size) if other != unit)
    return mean_loss(model, test, parameters=masked_parameters(model, structure, {group: keep}))


def _draw_units(structure: Structure, units: int, seed: int) -> dict[str, list[int]]:
    """Draw up to `units` units of every group that has at least three."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: sorted(torch.randperm(group.size, generator=generator)[:units].tolist())
        for name, group in structure.groups.items()
    }
    drawn = {name: indices for name, indices in drawn.items() if len(indices) > 2}
    if not drawn:
        raise UsageError("no group of this model has three units to rank; see `secateurs check`")
    return drawn


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.8g}") for value in tensor.tolist()] for name, tensor in tensors.items()}
