"""What the ablation study reports: rank correlations of scores and loss changes, as text, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from secateurs.criteria import GroupScores
from secateurs.experiments.report import page_figure
from secateurs.experiments.studies.agreement import correlation
from secateurs.experiments.studies.picture import standalone
from secateurs.utils import colour, format_mean, panels, require

RANDOM_ORDERS = 1000


@dataclass(frozen=True)
class Ranks:
    """Rank correlations of a criterion's scores with the loss changes, for one seed.

    Attributes:
        criterion, seed: what scored, and from which samples.
        groups: the correlation within each group.
        within: mean over the groups.
        together: correlation over the units of all groups.
    """

    criterion: str
    seed: int
    groups: Mapping[str, float]
    within: float
    together: float


def ranks(criterion: str, seed: int, scores: GroupScores, harm: Mapping[str, Tensor]) -> Ranks:
    """Correlate scores with the change of the loss without each unit; both per group, [units]."""
    groups = {name: correlation(values, harm[name]) for name, values in scores.items()}
    together = correlation(torch.cat(list(scores.values())), torch.cat([harm[name] for name in scores]))
    return Ranks(criterion, seed, groups, mean(groups.values()), together)


def by_chance(harm: Mapping[str, Tensor]) -> float:
    """The mean correlation within groups that one in a hundred random orders exceeds, estimated from a thousand."""
    require("scipy", "cli")
    from scipy.stats import rankdata

    generator = torch.Generator().manual_seed(0)
    means = torch.zeros(RANDOM_ORDERS, dtype=torch.float64)
    for changes in harm.values():
        orders = torch.rand(RANDOM_ORDERS, len(changes), generator=generator).argsort(1).double()
        correlations = torch.corrcoef(torch.cat([torch.from_numpy(rankdata(changes))[None], orders]))[0, 1:]
        means += correlations.nan_to_num() / len(harm)
    return float(means.quantile(0.99))


def sentence(results: Sequence[Ranks], harm: Mapping[str, Tensor]) -> str:
    """Name the criteria whose correlation exceeds the 99th percentile of random orders with every seed."""
    names = dict.fromkeys(result.criterion for result in results)
    within = {name: [result.within for result in results if result.criterion == name] for name in names}
    order = sorted(within, key=lambda name: -mean(within[name]))
    limit = by_chance(harm)
    texts = {name: f"{name} ({format_mean(within[name])})" for name in order}
    above = [texts[name] for name in order if min(within[name]) > limit]
    other = [texts[name] for name in order if min(within[name]) <= limit]
    lower = sum(int((changes < 0).sum()) for changes in harm.values()) / sum(map(len, harm.values()))
    return (
        "The rank correlation of the scores with the loss change, within groups, exceeds the 99th percentile of random "
        f"orders ({limit:.2f}) with every seed for {_list(above)}; it does not for {_list(other)}. Removing one unit "
        f"lowers the loss for {lower:.0%} of the units."
    )


def table(results: Sequence[Ranks], groups: Sequence[str]) -> list[list[str]]:
    """One row per criterion: mean and standard deviation over the seeds."""
    rows = []
    for name in dict.fromkeys(result.criterion for result in results):
        seeds = [result for result in results if result.criterion == name]
        cells = [format_mean([seed.within for seed in seeds]), format_mean([seed.together for seed in seeds])]
        cells += [format_mean([seed.groups[group] for seed in seeds if group in seed.groups]) for group in groups]
        rows.append([name, *cells])
    return rows


def picture(names: Sequence[str], scores: Mapping[str, GroupScores], harm: Mapping[str, Tensor]) -> str:
    """Loss change against the rank of the score in its group, with the median of every tenth, as SVG text."""
    columns = min(len(names), 4)
    with page_figure(0.6 + 2.2 * -(-len(names) // columns), dpi=150) as figure:
        grid = panels(figure, len(names), columns, sharex=True, sharey=True)
        for axes, criterion in zip(grid, names, strict=True):
            groups = scores[criterion]
            rank = torch.cat([(values.argsort().argsort() + 0.5) / len(values) for values in groups.values()])
            change = torch.cat([harm[name] for name in groups])
            axes.plot(rank, change, "o", ms=2, color=colour(0), rasterized=True)
            tenths = [change[(rank * 10).int() == tenth] for tenth in range(10)]
            medians = [float(values.median()) if len(values) else float("nan") for values in tenths]
            axes.plot([(tenth + 0.5) / 10 for tenth in range(10)], medians, color=colour(1), lw=2)
            axes.set_yscale("symlog", linthresh=float(torch.cat(list(harm.values())).abs().median()) or 1.0)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_title(criterion, fontsize=10)
        figure.supxlabel("rank of the score in its group", fontsize=9)
        figure.supylabel("change of the loss without the unit", fontsize=9)
        return standalone(figure, "change of the loss without single units against the rank of their scores")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
