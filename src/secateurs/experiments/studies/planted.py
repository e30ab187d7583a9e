"""Planted redundancy: how well criteria find redundant units that are known to be there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import comb
from statistics import mean

import torch
from torch import Tensor

from secateurs.criteria import CRITERIA, AnyCriterion, Named, parse_criterion, score_many
from secateurs.errors import CriterionError, SecateursWarning, UsageError
from secateurs.evaluate import accuracy
from secateurs.experiments.digits import Digits
from secateurs.experiments.studies.network import EPOCHS, Net, train
from secateurs.experiments.studies.planting import plant
from secateurs.experiments.studies.result import Areas, PlantedSeed, PlantedStudy
from secateurs.experiments.studies.threads import one_thread
from secateurs.structure import Structure, trace
from secateurs.utils import Progress, silent

LAYER, OTHERS = "conv2", ("conv1", "conv3")
SAMPLES, BATCH = 1024, 128
TYPICAL = 512  # images that planting looks at
FEW = 16  # samples on which it is tried whether a criterion can score the layer at all

Data = list[tuple[Tensor, ...]]


def run_planted(
    seeds: int = 5, criteria: Sequence[Named] | None = None, epochs: int = EPOCHS, progress: Progress = silent
) -> PlantedStudy:
    """Train a small network, plant redundant units (see `plant`), and see which criteria score them low.

    Args:
        seeds: repetitions; each trains and plants anew, and draws its own samples.
        criteria: as for `score_many`; by default all that can score the layer.
        epochs: of the training.
        progress: wraps the repetitions.

    Returns:
        What was found; see `areas` for what is measured.

    Raises:
        UsageError: the number of seeds is out of range.
        CriterionError: a criterion is unknown, or cannot score the layer.
    """
    if not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"a study needs at least one seed, not {seeds!r}")
    chosen = [parse_criterion(name) for name in (CRITERIA if criteria is None else criteria)]
    with one_thread():
        return _run(seeds, chosen, criteria is None, epochs, progress)


def _run(seeds: int, chosen: Sequence[AnyCriterion], drop: bool, epochs: int, progress: Progress) -> PlantedStudy:
    digits = Digits.load()
    left_out: dict[str, str] = {}
    rounds: list[PlantedSeed] = []
    for seed in progress(range(seeds), "planting and scoring"):
        net = train(digits, seed, epochs)
        planted = plant(net, digits.train.tensors[0][:TYPICAL], seed)
        model, data = planted.model.float(), _data(digits, seed)
        layer = trace(model, data[0][0][:2], keep=OTHERS)
        if drop and not rounds:
            left_out = _unable(model, data, chosen, layer)
            chosen = [its for its in chosen if its.name not in left_out]
        scores = score_many(model, data, chosen, layer, seed=seed)
        rounds.append(
            PlantedSeed(
                areas={
                    criterion: {kind: areas(its[LAYER], sets, planted.untouched) for kind, sets in planted.sets.items()}
                    for criterion, its in scores.items()
                },
                trained=accuracy(net, digits.test_batches()),
                planted=accuracy(model, digits.test_batches()),
                correlations=planted.correlations,
            )
        )
    return PlantedStudy(rounds, left_out, epochs, SAMPLES)


def areas(scores: Tensor, sets: Sequence[Sequence[int]], untouched: Sequence[int]) -> Areas:
    """How clearly the scores of redundant units lie below those of untouched ones.

    There are two ways to see that a set of units is redundant. A criterion that judges each unit with all others in
    place scores the whole set low. One that takes the units away one after the other, as `obs` does, scores those low
    that can go, and the last by what it is worth alone. So two areas under the curve are computed, ties counting half:

    - `each`: the probability that a unit of a redundant set scores lower than an untouched unit;
    - `lowest`: the probability that the lowest of a redundant set scores lower than the lowest of as many untouched
      units, drawn at random.

    Chance is 0.5 for both, but for `lowest` only if scores spread within a set as they do elsewhere. Two equal scores
    have one chance to be the lowest, against two, and lose (1/3); scores that spread more win. `each` depends on
    neither, and low members lift it above 0.5 if the others are at chance. So `each` counts, unless it is above 0.5 and
    `lowest` is larger, in the mean over seeds (`Study.best`).

    Args:
        scores: [units], higher = keep.
        sets: the units of each redundant set.
        untouched: the units that are compared with.
    """
    others, values = scores[list(untouched)], scores.tolist()
    each = [_below(values[unit], others, 1) for units in sets for unit in units]
    lowest = [_below(min(values[unit] for unit in units), others, len(units)) for units in sets]
    return Areas(mean(each), mean(lowest))


def _below(score: float, others: Tensor, drawn: int) -> float:
    """The probability that a score is lower than all of so many others, drawn at random; half of it where equal."""
    above, level = int((others > score).sum()), int((others == score).sum())
    return (comb(above, drawn) + comb(above + level, drawn)) / (2 * comb(len(others), drawn))


def _data(digits: Digits, seed: int) -> Data:
    chosen = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    return [digits.train[part] for part in chosen.split(BATCH)]


def _unable(model: Net, data: Data, criteria: Sequence[AnyCriterion], layer: Structure) -> dict[str, str]:
    """The criteria that cannot score the layer, and why, from a trial on a few samples: of all, else one by one."""
    few = [tuple(its[:FEW] for its in data[0])]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecateursWarning)  # about so few samples
            score_many(model, few, criteria, layer)
    except CriterionError as error:
        if len(criteria) == 1:
            return {criteria[0].name: str(error)}
        return {name: why for one in criteria for name, why in _unable(model, data, [one], layer).items()}
    return {}
