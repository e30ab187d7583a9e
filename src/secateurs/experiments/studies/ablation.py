"""What single units are worth: the loss without each of them, and which scores know it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor, nn

from secateurs.criteria import GroupScores, masked, parse_criterion, score_many
from secateurs.data import first_batch
from secateurs.errors import SecateursWarning, UsageError
from secateurs.evaluate import mean_loss
from secateurs.experiments.job import Job
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.finding import Finding
from secateurs.experiments.studies.picture import standalone
from secateurs.experiments.studies.threads import one_thread, tiny
from secateurs.structure import Structure, trace
from secateurs.utils import STYLE, WIDTH, Progress, colour, panels, silent, spread

CRITERIA = ("nexp", "ssi", "ndi", "l1", "taylor", "fisher", "obs", "random")
RANDOM = "random"
DRAWS = 1000  # random orders


@dataclass(frozen=True)
class Ranks:
    """Rank correlations of a criterion's scores with what the units are worth, for one seed.

    Attributes:
        criterion, seed: of what.
        groups: per group.
        within: their mean.
        together: of the units of all groups, ranked together.
    """

    criterion: str
    seed: int
    groups: Mapping[str, float]
    within: float
    together: float


def run_ablation(
    job: Job,
    criteria: Sequence[str] = CRITERIA,
    units: int = 64,
    seeds: int = 3,
    progress: Progress = silent,
    command: str = "",
) -> Finding:
    """Set units to zero one by one, measure the loss, and see which criteria score those low that do no harm.

    Args:
        job: with data to score on, and labelled data to measure the loss on.
        criteria: to look at; random is added.
        units: of each group that are taken, drawn by the job's seed.
        seeds: repetitions of scoring, each with samples of its own.
        progress: wraps the units.
        command: how to do it again.

    Returns:
        What was found.

    Raises:
        UsageError: there is nothing to measure the loss on, or too few units.
        CriterionError: a criterion is unknown or cannot score the model.
    """
    if not job.test or units < 3:
        raise UsageError("give labelled data to measure the loss on (--test), and at least 3 units per group (--units)")
    names = list(dict.fromkeys([*(parse_criterion(name).name for name in criteria), RANDOM]))
    model, test = job.dense(), job.tested()
    assert test is not None, "there is data to test on"
    with one_thread(tiny(model)), warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)
        structure = trace(model, first_batch(job.calibration()).sample(2), job.keep, job.kinds)
        taken = _taken(structure, units, job.seed)
        dense = mean_loss(model, test)
        harm = {name: torch.empty(len(its), dtype=torch.float64) for name, its in taken.items()}
        for name, place in progress([(n, p) for n, its in taken.items() for p in range(len(its))], "removing units"):
            harm[name][place] = loss_without(model, structure, name, taken[name][place], test) - dense
        scores: list[dict[str, dict[str, Tensor]]] = []
        for seed in progress(range(seeds), "scoring"):
            data = dataclasses.replace(job, seed=seed).calibration()
            every = score_many(model, data, names, structure, aggregate=job.aggregate, seed=seed)
            scores.append({c: {n: its[taken[n]] for n, its in of.items()} for c, of in every.items()})
    found = [ranks(name, seed, scores[seed][name], harm) for name in names for seed in range(seeds)]
    return Finding(
        study="ablation",
        title="Scores against the loss without single units",
        sentence=sentence(found, harm),
        headers=["criterion", "within groups", "all units", *harm],
        rows=table(found, list(harm)),
        data={
            "dense": dense,
            "units": taken,
            "harm": _plain(harm),
            "scores": [{name: _plain(of) for name, of in its.items()} for its in scores],
            "ranks": [dataclasses.asdict(its) for its in found],
        },
        command=command,
        notes=[
            "Spearman's rank correlation of scores with the change of the mean loss when everything of one unit is set "
            f"to zero (nothing takes over; batch norm as it is), on {job.test}. 1: the lowest score goes where least "
            "harm is done. Within groups: mean over the groups. Scores that do not compare across groups may fail for "
            "all units together, and are not meant for it.",
            f"{sum(map(len, taken.values()))} units, at most {units} of each group; scores from {seeds} seeds, each "
            "with samples of its own; mean ± standard deviation over seeds, which is not that over units: for scores "
            "of weights it is zero. What chance makes of so few units is said by 1,000 random orders, and by random.",
        ],
        figures={"scatter": picture(names, scores[0], harm)},
    )


def loss_without(model: nn.Module, structure: Structure, group: str, unit: int, test: Iterable[Any]) -> float:
    """The mean loss with all parameters of one unit set to zero."""
    keep = tuple(its for its in range(structure.group(group).size) if its != unit)
    return mean_loss(model, test, parameters=masked(model, structure, {group: keep}))


def ranks(criterion: str, seed: int, scores: GroupScores, harm: Mapping[str, Tensor]) -> Ranks:
    """Rank correlations of scores with the harm that is done without the units; both per group, [units]."""
    groups = {name: correlation(its, harm[name]) for name, its in scores.items()}
    together = correlation(torch.cat(list(scores.values())), torch.cat([harm[name] for name in scores]))
    return Ranks(criterion, seed, groups, mean(groups.values()), together)


def by_chance(harm: Mapping[str, Tensor]) -> float:
    """The mean rank correlation within groups that one in a hundred random orders reaches, by drawing a thousand."""
    generator = torch.Generator().manual_seed(0)
    every = torch.zeros(DRAWS, dtype=torch.float64)
    for its in harm.values():
        ranks = torch.rand(DRAWS, len(its), generator=generator).argsort(1).double()
        found = torch.corrcoef(torch.cat([torch.from_numpy(rankdata(its))[None], ranks]))[0, 1:]
        every += found.nan_to_num() / len(harm)
    return float(every.quantile(0.99))


def sentence(found: Sequence[Ranks], harm: Mapping[str, Tensor]) -> str:
    """Who knows more than chance: who lies above what one in a hundred random orders reaches, with every seed."""
    names = dict.fromkeys(its.criterion for its in found)
    of = {name: [its.within for its in found if its.criterion == name] for name in names}
    order = sorted(of, key=lambda name: -mean(of[name]))
    limit = by_chance(harm)
    said = {name: f"{name} ({spread(of[name])})" for name in order}
    better = [said[name] for name in order if min(of[name]) > limit]
    other = [said[name] for name in order if min(of[name]) <= limit]
    lower = sum(int((its < 0).sum()) for its in harm.values()) / sum(map(len, harm.values()))
    return (
        "Rank correlations within groups with the loss without single units are above what one random order in a "
        f"hundred reaches ({limit:.2f}) with every seed for {_listed(better)}, and not for {_listed(other)}; without "
        f"{lower:.0%} of the units, one at a time, the loss is lower than with them."
    )


def table(found: Sequence[Ranks], groups: Sequence[str]) -> list[list[str]]:
    """One row per criterion: mean and standard deviation over the seeds."""
    rows = []
    for name in dict.fromkeys(its.criterion for its in found):
        of = [its for its in found if its.criterion == name]
        cells = [spread([its.within for its in of]), spread([its.together for its in of])]
        rows.append([name, *cells, *(spread([its.groups[n] for its in of if n in its.groups]) for n in groups)])
    return rows


def picture(names: Sequence[str], scores: Mapping[str, GroupScores], harm: Mapping[str, Tensor]) -> str:
    """Harm against rank of the score in its group, and its median in every tenth, a panel per criterion, as SVG."""
    with rc_context(STYLE):
        columns = min(len(names), 4)
        figure = Figure(figsize=(WIDTH, 0.6 + 2.2 * -(-len(names) // columns)), layout="constrained", dpi=150)
        grid = panels(figure, len(names), columns, sharex=True, sharey=True)
        for axes, criterion in zip(grid, names, strict=True):
            of = scores[criterion]
            rank = torch.cat([(its.argsort().argsort() + 0.5) / len(its) for its in of.values()])
            change = torch.cat([harm[name] for name in of])
            axes.plot(rank, change, "o", ms=2, color=colour(0), rasterized=True)
            tenths = [change[(rank * 10).int() == tenth] for tenth in range(10)]
            middles = [float(its.median()) if len(its) else float("nan") for its in tenths]
            axes.plot([(tenth + 0.5) / 10 for tenth in range(10)], middles, color=colour(1), lw=2)
            axes.set_yscale("symlog", linthresh=float(torch.cat(list(harm.values())).abs().median()) or 1.0)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_title(criterion, fontsize=10)
        figure.supxlabel("rank of the score in its group", fontsize=9)
        figure.supylabel("change of the loss without the unit", fontsize=9)
        return standalone(figure, "change of the loss without single units against the rank of their scores")


def _taken(structure: Structure, units: int, seed: int) -> dict[str, list[int]]:
    """Of every group that has at least three, so many units, in their order."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: sorted(torch.randperm(group.size, generator=generator)[:units].tolist())
        for name, group in structure.groups.items()
    }
    drawn = {name: its for name, its in drawn.items() if len(its) > 2}
    if not drawn:
        raise UsageError("no group of this model has three units to rank; see `secateurs check`")
    return drawn


def _plain(of: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{value:.8g}") for value in its.tolist()] for name, its in of.items()}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
