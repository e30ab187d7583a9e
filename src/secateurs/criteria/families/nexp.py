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
LIMITS = "a copy of a useful unit scores as high as the unit; dead and always-on units score alike"


@criterion("nexp", source=SOURCE, scope="global", requests=(FIRING,), limits=LIMITS)
def nexp(evidence: Evidence) -> Tensor:
    """Mean Hamming distance between the unit's binarised activations of two inputs.

    The paper compares all pairs of N inputs. Of k inputs that make a position positive, k (N - k) pairs differ there,
    so the mean over pairs is 2 k (N - k) / (N (N - 1)), from counts alone. Averaged over positions, then over the
    places where the units are seen. Where inputs differ in length, two are compared at the positions that both have:
    with N of the inputs that have a position, Σ 2 k (N - k) / Σ N (N - 1) over positions. Lies in [0, 1/2] for many
    inputs; 0 for units that are always on or always off.
    """
    statistics = evidence.statistics(FIRING)
    return _warn_if_silent(evidence, [_expressiveness(s.counts, s.samples) for s in statistics])


def nexp_at(quantile: float) -> Criterion:
    """NEXP with the unit's own quantile as the threshold, for non-linearities without zeros (GELU, SiLU, none).

    The quantile is of the values of up to 256 inputs at up to 64 positions, evenly spaced; so is the score.

    Args:
        quantile: in (0, 1); 0.5 is the median.

    Raises:
        CriterionError: the quantile is out of range.
    """
    if not 0 < quantile < 1:
        raise CriterionError(f"a threshold is a quantile in (0, 1), not {quantile!r}")

    def score(evidence: Evidence) -> Tensor:
        scores = []
        for statistic in evidence.statistics(SAMPLED):
            values = statistic.values  # [samples, units, positions]
            present = (~values[:, 0].isnan()).sum(0)  # of the inputs, at each position
            flat = values.movedim(1, 0).flatten(1).sort(1).values  # NaN comes last
            threshold = flat[:, int(quantile * (int(present.sum()) - 1))]
            scores.append(_expressiveness((values > threshold[None, :, None]).sum(0), present))
        return _warn_if_silent(evidence, scores)

    name = "nexp-median" if quantile == 0.5 else f"nexp-q{quantile:g}"
    summary = f"NEXP with the unit's {'median' if quantile == 0.5 else f'{quantile:g} quantile'} as its threshold."
    source = SOURCE + "; the threshold is ours"
    limits = f"{LIMITS}; units with one value per input, as of linear layers, all score the same"
    return Criterion(name, score, source, Scope.GLOBAL, (SAMPLED,), summary=summary, limits=limits)


add(nexp_at(0.5))


def _expressiveness(counts: Tensor, samples: Tensor) -> Tensor:
    """Scores [units] from the number of positive samples [units, ...] and of all samples [...] at each position."""
    pairs = (samples * (samples - 1)).double()
    if not pairs.any():
        most = int(samples.max())
        raise CriterionError(f"nexp compares inputs with each other and needs at least 2 of them, not {most}")
    k = counts.double()
    return (2 * k * (samples - k)).flatten(1).sum(1) / pairs.sum()


def _warn_if_silent(evidence: Evidence, scores: list[Tensor]) -> Tensor:
    """The combined scores; a warning if all are zero."""
    combined = evidence.combine(scores)
    if not combined.any():
        warn_user(
            f"every unit of group {evidence.group.name!r} is always on or always off, so all score 0 in nexp "
            "(dead non-linearities, or a batch norm far from zero); give more or other inputs, or keep the group",
            DeadUnitsWarning,
        )
    return combined
