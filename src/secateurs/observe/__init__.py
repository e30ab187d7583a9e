"""Run a model over data and collect mergeable statistics of activations, and gradients."""

from secateurs.observe.feature_maps import MapRanks, MapStatistic, NuclearDrops
from secateurs.observe.gradients import (
    FISHER,
    GATE,
    GRADIENTS,
    HESSIAN_DIAGONAL,
    HESSIAN_GRADIENT,
    LOSS_GRADIENT,
    ROUNDS,
    SYNAPTIC_FLOW,
    SYNAPTIC_ORDER,
    Gradient,
    Gradients,
    SampleMean,
    differentiate,
    find_gradient,
    gradient_passes,
)
from secateurs.observe.observe import memory, observe
from secateurs.observe.observer import Observations, Wanted
from secateurs.observe.padding import without_padding
from secateurs.observe.samples import Pooled, Sampled
from secateurs.observe.statistics import Statistic, merge_statistics
from secateurs.observe.totals import FiringCounts, Moments, Totals

__all__ = [
    "FISHER",
    "GATE",
    "GRADIENTS",
    "HESSIAN_DIAGONAL",
    "HESSIAN_GRADIENT",
    "LOSS_GRADIENT",
    "ROUNDS",
    "SYNAPTIC_FLOW",
    "SYNAPTIC_ORDER",
    "FiringCounts",
    "Gradient",
    "Gradients",
    "MapRanks",
    "MapStatistic",
    "Moments",
    "NuclearDrops",
    "Observations",
    "Pooled",
    "SampleMean",
    "Sampled",
    "Statistic",
    "Totals",
    "Wanted",
    "differentiate",
    "find_gradient",
    "gradient_passes",
    "memory",
    "merge_statistics",
    "observe",
    "without_padding",
]
