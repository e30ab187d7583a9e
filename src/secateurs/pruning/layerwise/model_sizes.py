"""The sizes, in bytes, of a model's weights, activations, cached outputs and statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from secateurs.data import Batch, Call
from secateurs.observe import Moments, Wanted
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.execution_trace import OUTSIDE
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.statistics_schedule import Needs, StatisticsSchedule
from secateurs.structure import Structure, Tap

DOUBLE = 8
"""Bytes of a float64 number; scores, compensation and verification are computed in float64."""

MATRIX_COPIES = 4
"""Temporary copies of a matrix that scoring and compensation make, beside the matrix itself."""

SOLVER_COPIES = 3
"""Further copies of a matrix of second moments that solving a linear system makes."""


class ModelSizes:
    """Sizes in bytes, from one run on a few samples; they grow with the number of elements of the data.

    Attributes:
        all_weights: of all parameters.
        largest_layer: of the parameters of the largest layer.
        outside_layers: of the parameters and buffers outside of the layers.
        zeros: of the zeros that stand in for parameters that are not loaded.
        activations: of operator results alive at a time, on the largest batch.
    """

    def __init__(self, offloaded: OffloadedModel, plan: ExecutionPlan, sample: Call, data: Sequence[Batch]):
        self._plan, self._data = plan, data
        self._sample_elements = sum(tensor.numel() for tensor in sample.tensors())
        parameters = dict(offloaded.model.named_parameters(remove_duplicate=False))
        self._weight_bytes = {name: parameters[name].nbytes for name in offloaded.parameters}
        self._element_size = max((parameter.element_size() for parameter in parameters.values()), default=1)
        self._largest_ratio = max(map(self.ratio, data))
        self.all_weights = sum(self._weight_bytes.values())
        self.largest_layer = max(self._sum(names) for names in plan.layer_parameters.values())
        buffers = sum(buffer.nbytes for buffer in offloaded.model.buffers())
        self.outside_layers = self._sum(plan.shared_parameters) + buffers
        self.zeros = max(self._weight_bytes.values())
        self.activations = int(self._largest_ratio * max(plan.peak_bytes.values()))

    def ratio(self, batch: Batch) -> float:
        """The number of elements of a batch, divided by that of the sample."""
        return sum(tensor.numel() for tensor in batch.call.tensors()) / self._sample_elements

    @property
    def cached_outputs(self) -> int:
        """The cached outputs on all data: long-lived tensors, and those of two consecutive layers."""
        return int(sum(map(self.ratio, self._data)) * self._cached + self._largest_ratio * self._short_lived)

    @property
    def cached_outputs_of_a_batch(self) -> int:
        """The cached outputs on the largest batch."""
        return int(self._largest_ratio * (self._cached + self._short_lived))

    @property
    def _short_lived(self) -> int:
        """The largest size of one layer's outputs that only the next layer uses, on the sample."""
        outputs = self._plan.output_bytes.items()
        by_layer = {output.layer: 0 for output, _ in outputs}
        for output, size in outputs:
            by_layer[output.layer] += size if output not in self._plan.long_lived else 0
        return max(by_layer.values(), default=0)

    @property
    def _cached(self) -> int:
        """The outputs that are cached at a time, on the sample."""
        long_lived = sum(size for output, size in self._plan.output_bytes.items() if output in self._plan.long_lived)
        return long_lived + self._short_lived

    def statistics(self, structure: Structure, needs: Needs) -> dict[str, int]:
        """The statistics of activations, and the temporary memory to add a batch to them and to solve for them."""
        samples = sum(batch.size for batch in self._data)
        schedule = StatisticsSchedule((*self._plan.layers, OUTSIDE), needs)
        taps: dict[Tap, int] = {}
        for wanted in needs.values():
            for tap, kinds in wanted.items():
                taps[tap] = max(taps.get(tap, 0), _largest_statistic({tap: kinds}, samples))
        batch = max(batch.size for batch in self._data)
        temporary = max(MATRIX_COPIES * (size + 4 * tap.size * tap.positions * batch) for tap, size in taps.items())
        moments = (tap.size for wanted in needs.values() for tap, kinds in wanted.items() if Moments in kinds)
        temporary += SOLVER_COPIES * Moments.size(samples, max(moments, default=0), 1)
        return {
            "statistics of activations": schedule.peak_memory(samples),
            "temporary memory of statistics": int(temporary),
        }

    def verification(self, matrix: int) -> dict[str, int]:
        """Verification, which runs a few samples in float64; `matrix`: the entries of the largest tensor in a group."""
        factor = DOUBLE // self._element_size or 1
        outputs = sum(self._plan.output_bytes.values())
        return {
            "weights outside of the layers": factor * self.outside_layers,
            "weights of the largest layer": factor * self.largest_layer,
            "zeros in place of all other weights": self.zeros,
            "weights that are compared": 2 * self.zeros + 2 * DOUBLE * matrix,
            "activations of a few samples": factor * (max(self._plan.peak_bytes.values()) + 3 * outputs),
        }

    def _sum(self, names: Iterable[str]) -> int:
        return sum(self._weight_bytes[name] for name in names)


def _largest_statistic(wanted: Wanted, samples: int) -> int:
    return max(kind.size(samples, tap.size, tap.positions) for tap, kinds in wanted.items() for kind in kinds)
