"""What batch norms put out in the model before the cut, on the same batches."""

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
    """The running mean and variance of a batch norm that keeps them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


class NormOutputs(NamedTuple):
    """Standard deviations and means [channels] of what a batch norm puts out before its weight and bias."""

    deviation: Tensor
    mean: Tensor

    @classmethod
    def of(cls, norm: _BatchNorm, mean: Tensor, variance: Tensor) -> NormOutputs:
        """In evaluation, where the inputs have this mean and variance."""
        running_mean, running_variance = running_statistics(norm)
        scale = (running_variance + norm.eps).sqrt()
        return cls((variance + norm.eps).sqrt() / scale, (mean - running_mean) / scale)

    def kept(self, mask: Tensor, norm: nn.Module) -> NormOutputs:
        """Those of the channels that stay, where the norm of the smaller model is."""
        chosen = mask.to(self.mean.device)
        return NormOutputs(*(statistic[chosen].to(device_of(norm)) for statistic in self))


class _NormPair(NamedTuple):
    """A batch norm of the small model, that of the dense one, and the channels of this that stay."""

    small: _BatchNorm
    dense: _BatchNorm
    kept: Tensor


class DenseStatistics:
    """The dense model, which goes over the same batches as the small one, each time before it.

    The batch norms of the small model, in training mode, put out what those of the dense one do: with the same mean and
    variance of each channel, batch by batch.
    """

    def __init__(self, norms: Mapping[str, _BatchNorm], dense: nn.Module, plan: Plan, structure: Structure):
        plan.check(structure)
        masks, others = structure.keep_masks(plan.keep), dict(dense.named_modules())
        self._dense, self._pairs = dense, {}
        for name, norm in norms.items():
            mask, other = masks.get(f"{name}.running_mean".lstrip(".")), others.get(name)
            if mask is None or not isinstance(other, _BatchNorm) or int(mask[0].sum()) != norm.num_features:
                raise PlanError(f"{name!r} is not what the plan leaves of the dense model's batch norm of that name")
            self._pairs[name] = _NormPair(norm, other, mask[0])
        self._waiting: dict[str, deque[NormOutputs]] = {name: deque() for name in norms}
        self._sums = {
            name: torch.zeros(2, len(pair.kept), device=device_of(pair.dense)) for name, pair in self._pairs.items()
        }
        self._counts = dict.fromkeys(norms, 0)

    @contextmanager
    def observing(self) -> Iterator[Callable[[Batch], None]]:
        """While the small model goes over the data; what is given shows a batch to the dense one, which comes first."""
        with ExitStack() as stack:
            stack.enter_context(restoring_modes(self._dense))
            self._dense.eval()
            for name, pair in self._pairs.items():
                stack.enter_context(pair.dense.register_forward_pre_hook(self._note(name, pair)))
                stack.enter_context(pair.small.register_forward_hook(self._bring(name, pair)))
            yield lambda batch: forward(self._dense, batch.to(device_of(self._dense)))

    def _note(self, name: str, pair: _NormPair) -> Callable[..., None]:
        def note(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].float()
            variance, mean = torch.var_mean(x, [dim for dim in range(x.dim()) if dim != 1], correction=0)
            rows = x.numel() // len(mean)
            self._sums[name] += torch.stack([mean, variance * rows / max(rows - 1, 1)])  # as running statistics are
            self._counts[name] += 1
            self._waiting[name].append(NormOutputs.of(pair.dense, mean, variance).kept(pair.kept, pair.small))

        return note

    def _bring(self, name: str, pair: _NormPair) -> Callable[..., Tensor]:
        def bring(norm: nn.Module, _: Any, out: Tensor) -> Tensor:
            outputs, like = self._waiting[name].popleft(), [1, -1] + [1] * (out.dim() - 2)
            weight, bias = (1, 0) if pair.small.weight is None else (pair.small.weight, pair.small.bias)
            shift = outputs.mean * weight + bias * (1 - outputs.deviation)
            return (out * outputs.deviation.view(like) + shift.view(like)).to(out)

        return bring

    def apply(self, data: Iterable[Any]) -> None:
        """Let the small model's norms, which have the averages of their inputs now, put out in evaluation what the
        dense model's do, on average over all ranks."""
        for name, (small, dense, kept) in self._pairs.items():
            count, sums = sum_over_ranks(data, self._counts[name]), sum_over_ranks(data, self._sums[name])
            if not count:
                continue
            outputs = NormOutputs.of(dense, *(sums / count)).kept(kept, small)
            running_mean, running_variance = running_statistics(small)
            scale = (running_variance + small.eps).sqrt() / outputs.deviation
            running_mean -= outputs.mean * scale
            running_variance.copy_((scale.square() - small.eps).clamp(min=0))
