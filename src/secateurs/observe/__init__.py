"""Run the model over data once and collect mergeable statistics of its units."""

from secateurs.observe.observe import Observations, Request, observe
from secateurs.observe.statistics import FiringCounts, Statistic

__all__ = ["FiringCounts", "Observations", "Request", "Statistic", "observe"]
