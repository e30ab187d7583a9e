"""Output statistics of the batch norm layers of the dense model, the reference of recalibration."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs.budgets import Plan
from secateurs.data import Batch, sum_over_ranks
from secateurs.errors import PlanError
from secateurs.structure import Structure
from secateurs.training.objective import forward
from secateurs.utils import device_of, restoring_modes


def running_statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and variance [channels] of a batch norm layer that tracks them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


class NormOutputs(NamedTuple):
    """Statistics of the outputs of a batch norm layer before the weight and bias are applied.

    Attributes:
        deviation: standard deviation [channels].
        mean: mean [channels].
    """

    deviation: Tensor
    mean: Tensor

    @classmethod
    def of(cls, norm: _BatchNorm, mean: Tensor, variance: Tensor) -> NormOutputs:
        """Compute the output statistics in evaluation mode from the mean and variance [channels] of the inputs."""
        running_mean, running_variance = running_statistics(norm)
        scale = (running_variance + norm.eps).sqrt()
        return cls((variance + norm.eps).sqrt() / scale, (mean - running_mean) / scale)

    def select(self, mask: Tensor, norm: nn.Module) -> NormOutputs:
        """Select the channels where `mask` [channels] is True, and move the result to the device of `norm`."""
        mask = mask.to(self.mean.device)
        return NormOutputs(*(statistic[mask].to(device_of(norm)) for statistic in self))


class _NormPair(NamedTuple):
    """Batch norm layers of one name in the pruned and the dense model, and the mask of kept channels [channels]."""

    pruned: _BatchNorm
    dense: _BatchNorm
    kept: Tensor


class DenseStatistics:
    """Observes the batch norm layers of the dense model and imposes their output statistics on the pruned model.

    Every batch is run through the dense model first and then through the pruned model. During these passes, the batch
    norm layers of the pruned model run in training mode, and their outputs are rescaled to the mean and variance of the
    dense model's outputs. `apply` finally changes the running statistics so that this holds in evaluation mode.

    Args:
        norms: batch norm layers of the pruned model by name.
        dense: the dense model.
        plan: the plan by which the model was pruned.
        structure: structure of the dense model.

    Raises:
        PlanError: the pruned model does not fit the plan.
    """

    def __init__(self, norms: Mapping[str, _BatchNorm], dense: nn.Module, plan: Plan, structure: Structure):
        plan.check(structure)
        masks, dense_modules = structure.keep_masks(plan.keep), dict(dense.named_modules())
        self._dense, self._pairs = dense, {}
        for name, norm in norms.items():
            mask, dense_norm = masks.get(f"{name}.running_mean".lstrip(".")), dense_modules.get(name)
            if mask is None or not isinstance(dense_norm, _BatchNorm) or int(mask[0].sum()) != norm.num_features:
                raise PlanError(
                    f"batch norm {name!r} does not fit the plan: the model was not pruned from the dense model by it"
                )
            self._pairs[name] = _NormPair(norm, dense_norm, mask[0])
        self._waiting: dict[str, deque[NormOutputs]] = {name: deque() for name in norms}
        self._sums = {
            name: torch.zeros(2, len(pair.kept), device=device_of(pair.dense)) for name, pair in self._pairs.items()
        }
        self._counts = dict.fromkeys(norms, 0)

    @contextmanager
    def observing(self) -> Iterator[Callable[[Batch], None]]:
        """Register hooks on both models inside the block.

        Yields:
            A function that runs the dense model on a batch. Call it before the pruned model runs on the batch.
        """
        with ExitStack() as stack:
            stack.enter_context(restoring_modes(self._dense))
            self._dense.eval()
            for name, pair in self._pairs.items():
                stack.enter_context(pair.dense.register_forward_pre_hook(self._record_inputs(name, pair)))
                stack.enter_context(pair.pruned.register_forward_hook(self._rescale_outputs(name, pair)))
            yield lambda batch: forward(self._dense, batch.to(device_of(self._dense)))

    def _record_inputs(self, name: str, pair: _NormPair) -> Callable[..., None]:
        """Make a hook that records the input statistics of a dense batch norm layer."""

        def record(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].float()
            variance, mean = torch.var_mean(x, [dim for dim in range(x.dim()) if dim != 1], correction=0)
            rows = x.numel() // len(mean)
            # the sums use the unbiased variance, as running statistics do
            self._sums[name] += torch.stack([mean, variance * rows / max(rows - 1, 1)])
            self._counts[name] += 1
            self._waiting[name].append(NormOutputs.of(pair.dense, mean, variance).select(pair.kept, pair.pruned))

        return record

    def _rescale_outputs(self, name: str, pair: _NormPair) -> Callable[..., Tensor]:
        """Make a hook that gives the outputs of a pruned batch norm layer the statistics of the dense layer."""

        def rescale(norm: nn.Module, _: Any, out: Tensor) -> Tensor:
            outputs, shape = self._waiting[name].popleft(), [1, -1] + [1] * (out.dim() - 2)
            weight, bias = (1, 0) if pair.pruned.weight is None else (pair.pruned.weight, pair.pruned.bias)
            shift = outputs.mean * weight + bias * (1 - outputs.deviation)
            return (out * outputs.deviation.view(shape) + shift.view(shape)).to(out)

        return rescale

    def apply(self, data: Iterable[Any]) -> None:
        """Adjust the running statistics of the pruned model to match the dense model's outputs in evaluation mode.

        Before this call, the running statistics must be the averages of the inputs. The statistics of a shard are the
        averages over all ranks.
        """
        for name, (pruned, dense, kept) in self._pairs.items():
            count, sums = sum_over_ranks(data, self._counts[name]), sum_over_ranks(data, self._sums[name])
            if not count:
                continue
            outputs = NormOutputs.of(dense, *(sums / count)).select(kept, pruned)
            running_mean, running_variance = running_statistics(pruned)
            scale = (running_variance + pruned.eps).sqrt() / outputs.deviation
            running_mean -= outputs.mean * scale
            running_variance.copy_((scale.square() - pruned.eps).clamp(min=0))
