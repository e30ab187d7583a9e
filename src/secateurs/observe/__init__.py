"""Run the model over data and collect mergeable statistics of its units, and gradients."""

from secateurs.observe.flow import synaptic_flow
from secateurs.observe.gradients import KINDS, Gradients, differentiate
from secateurs.observe.maps import MapRanks, NuclearDrops
from secateurs.observe.observe import Observations, Wanted, memory, observe
from secateurs.observe.samples import Pooled, Sampled
from secateurs.observe.statistics import Statistic, merged
from secateurs.observe.totals import FiringCounts, Moments, Totals

__all__ = [
    "FiringCounts", "Gradients", "KINDS", "MapRanks", "Moments", "NuclearDrops", "Observations", "Pooled", "Sampled",
    "Statistic", "Totals", "Wanted", "differentiate", "memory", "merged", "observe", "synaptic_flow",
]  # fmt: skip
