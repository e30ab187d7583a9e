"""Run the model over data and collect mergeable statistics of its units, and gradients."""

from secateurs.observe.feature_maps import MapRanks, MapStatistic, NuclearDrops
from secateurs.observe.gradients import KINDS, Gradients, differentiate
from secateurs.observe.observe import Observations, Wanted, memory, observe
from secateurs.observe.padding import without_padding
from secateurs.observe.samples import Pooled, Sampled
from secateurs.observe.statistics import Statistic, merge_statistics
from secateurs.observe.synaptic_flow import synaptic_flow
from secateurs.observe.totals import FiringCounts, Moments, Totals

__all__ = [
    "KINDS",
    "FiringCounts",
    "Gradients",
    "MapRanks",
    "MapStatistic",
    "Moments",
    "NuclearDrops",
    "Observations",
    "Pooled",
    "Sampled",
    "Statistic",
    "Totals",
    "Wanted",
    "differentiate",
    "memory",
    "merge_statistics",
    "observe",
    "synaptic_flow",
    "without_padding",
]
