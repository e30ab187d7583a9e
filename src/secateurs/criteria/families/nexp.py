"""NEXP, neural expressiveness: the difference between the activations of a unit for two inputs."""

from __future__ import annotations

from torch import Tensor

from secateurs.budgets import Scope
from secateurs.criteria.criterion import Criterion
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import add, criterion
from secateurs.criteria.request import Request
from secateurs.errors import CriterionError, DeadUnitsWarning
from secateurs.observe import FiringCounts, Sampled
from secateurs.utils import warn_user

FIRING, SAMPLED = Request("fired", FiringCounts), Request("fired", Sampled)
SOURCE = "NEXP (arXiv 2512.06440), Eq. 10-11"
LIMITS = "a copy of a useful unit scores as high as the unit; dead units and always active units score the same"


@criterion("nexp", source=SOURCE, scope="global", requests=(FIRING,), limits=LIMITS)
def nexp(evidence: Evidence) -> Tensor:
    """Mean Hamming distance between the unit's binarised activations for two samples.

    The paper compares all pairs of N samples. If a position is positive for k samples, k (N − k) pairs differ there. So
    the mean over pairs is 2 k (N − k) / (N (N − 1)) and needs only counts. The score is the mean over positions, then
    over the places where the units are observed. If samples differ in length, pairs are compared at the positions that
    both have: Σ 2 k (N − k) / Σ N (N − 1), where N is the number of samples that have the position. Scores are in
    [0, 1/2] for many samples, and 0 for units that are always active or never active.
    """
    statistics = evidence.statistics(FIRING)
    return _combined(evidence, [_expressiveness(s.counts, s.samples) for s in statistics])


def nexp_at(quantile: float) -> Criterion:
    """Build NEXP with a quantile of each unit as its threshold, for non-linearities without zeros (GELU, SiLU, none).

    Quantile and score use the values of up to 256 samples at up to 64 evenly spaced positions.

    Args:
        quantile: in (0, 1); 0.5 is the median.

    Returns:
        A criterion that is not registered; give it to `sc.score` or `sc.prune`.

    Raises:
        CriterionError: the quantile is out of range.
    """
    if not 0 < quantile < 1:
        raise CriterionError(f"the quantile of a threshold must be in (0, 1), not {quantile!r}")

    def score(evidence: Evidence) -> Tensor:
        scores = []
        for statistic in evidence.statistics(SAMPLED):
            values = statistic.values  # [samples, units, positions]
            present = (~values[:, 0].isnan()).sum(0)  # the number of samples that have each position
            flat = values.movedim(1, 0).flatten(1).sort(1).values  # missing positions are NaN and come last
            threshold = flat[:, int(quantile * (int(present.sum()) - 1))]
            scores.append(_expressiveness((values > threshold[None, :, None]).sum(0), present))
        return _combined(evidence, scores)

    name = "nexp-median" if quantile == 0.5 else f"nexp-q{quantile:g}"
    summary = f"NEXP with the unit's {'median' if quantile == 0.5 else f'{quantile:g} quantile'} as its threshold."
    source = SOURCE + "; the threshold is from this library"
    limits = f"{LIMITS}; units with one value per sample, as in linear layers, all score the same"
    return Criterion(name, score, source, Scope.GLOBAL, (SAMPLED,), summary=summary, limits=limits)


add(nexp_at(0.5))


def _expressiveness(counts: Tensor, samples: Tensor) -> Tensor:
    """Scores [units] from the number of positive samples [units, ...] and of all samples [...] at each position."""
    pairs = (samples * (samples - 1)).double()
    if not pairs.any():
        raise CriterionError(f"nexp compares pairs of samples and needs at least 2 samples, not {int(samples.max())}")
    k = counts.double()
    return (2 * k * (samples - k)).flatten(1).sum(1) / pairs.sum()


def _combined(evidence: Evidence, scores: list[Tensor]) -> Tensor:
    """Combine the scores of all places, and warn if all scores are zero."""
    combined = evidence.combine(scores)
    if not combined.any():
        warn_user(
            f"every unit of group {evidence.group.name!r} is always active or never active, so nexp scores all units 0 "
            "(dead non-linearities, or batch norm outputs far from zero); give more or different samples, or exclude "
            "the group from pruning",
            DeadUnitsWarning,
        )
    return combined
