"""The planted study: how well criteria find redundant units that were planted into a network."""

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
PLANTING_IMAGES = 512  # for the statistics of planting
TRIAL_SAMPLES = 16  # to find out which criteria can score the layer

Data = list[tuple[Tensor, ...]]


def run_planted(
    seeds: int = 5, criteria: Sequence[Named] | None = None, epochs: int = EPOCHS, progress: Progress = silent
) -> PlantedStudy:
    """Train a small network, plant redundant units (see `plant`), and measure which criteria score them low.

    Args:
        seeds: repetitions; each trains and plants anew, and draws other samples.
        criteria: as for `score_many`; by default all that can score the layer.
        epochs: of the training.
        progress: wraps the repetitions.

    Returns:
        The areas under the curve; see `areas`.

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
    results: list[PlantedSeed] = []
    for seed in progress(range(seeds), "planting and scoring"):
        net = train(digits, seed, epochs)
        planted = plant(net, digits.train.tensors[0][:PLANTING_IMAGES], seed)
        model, data = planted.model.float(), _data(digits, seed)
        layer = trace(model, data[0][0][:2], keep=OTHERS)
        if drop and not results:
            left_out = _failing_criteria(model, data, chosen, layer)
            chosen = [criterion for criterion in chosen if criterion.name not in left_out]
        scores = score_many(model, data, chosen, layer, seed=seed)
        results.append(
            PlantedSeed(
                areas={
                    name: {kind: areas(groups[LAYER], sets, planted.untouched) for kind, sets in planted.sets.items()}
                    for name, groups in scores.items()
                },
                trained=accuracy(net, digits.test_batches()),
                planted=accuracy(model, digits.test_batches()),
                correlations=planted.correlations,
            )
        )
    return PlantedStudy(results, left_out, epochs, SAMPLES)


def areas(scores: Tensor, sets: Sequence[Sequence[int]], untouched: Sequence[int]) -> Areas:
    """Measure how clearly the scores of redundant units lie below the scores of untouched units.

    A criterion can reveal a redundant set in two ways. If it judges each unit with all others in place, it scores the
    whole set low. If it removes the units one after the other, as `obs` does, it scores the removable ones low and the
    last one by its value without the others. So two areas under the curve are computed; ties count half:

    - `each`: the probability that a unit of a redundant set scores lower than an untouched unit;
    - `lowest`: the probability that the lowest of a redundant set scores lower than the lowest of as many untouched
      units, drawn at random.

    Chance is 0.5 for `each`. For `lowest` it is 0.5 only if scores spread within a set as they do elsewhere: two equal
    scores count as one draw against two (1/3), and scores that spread more win more often. Low units of a set raise
    `each` above 0.5 if the others are at chance. So `each` is reported, unless it is above 0.5 and `lowest` is larger,
    in the mean over the seeds (`PlantedStudy.best`).

    Args:
        scores: [units], higher = keep.
        sets: the units of each redundant set.
        untouched: the units to compare with.
    """
    others, values = scores[list(untouched)], scores.tolist()
    each = [_below(values[unit], others, 1) for units in sets for unit in units]
    lowest = [_below(min(values[unit] for unit in units), others, len(units)) for units in sets]
    return Areas(mean(each), mean(lowest))


def _below(score: float, others: Tensor, drawn: int) -> float:
    """The probability that a score is lower than all of `drawn` others, drawn at random; ties count half."""
    above, tied = int((others > score).sum()), int((others == score).sum())
    return (comb(above, drawn) + comb(above + tied, drawn)) / (2 * comb(len(others), drawn))


def _data(digits: Digits, seed: int) -> Data:
    chosen = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    return [digits.train[part] for part in chosen.split(BATCH)]


def _failing_criteria(model: Net, data: Data, criteria: Sequence[AnyCriterion], layer: Structure) -> dict[str, str]:
    """The criteria that cannot score the layer, and why: a trial of all on a few samples, then of each alone."""
    few = [tuple(tensor[:TRIAL_SAMPLES] for tensor in data[0])]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecateursWarning)  # about few samples
            score_many(model, few, criteria, layer)
    except CriterionError as error:
        if len(criteria) == 1:
            return {criteria[0].name: str(error)}
        return {
            name: reason for one in criteria for name, reason in _failing_criteria(model, data, [one], layer).items()
        }
    return {}
