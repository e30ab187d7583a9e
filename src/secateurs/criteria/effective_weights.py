"""Effective weights: the weights that a module computes from other tensors before each forward pass.

`torch.nn.utils.prune` multiplies a weight by a mask. `weight_norm` and `spectral_norm` normalise a weight.
`torch.nn.utils.parametrize` applies any function. Criteria score the result of the computation, under the name of the
parameter of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from secateurs.utils import evaluating, named_tensors


def effective_tensors(model: nn.Module) -> dict[str, Tensor]:
    """List all parameters and buffers; the effective weight replaces the parameter that it is computed from.

    Only parameters of the same shape as the effective weight are replaced. For example, the magnitudes of `weight_norm`
    have another shape and keep their values.

    Args:
        model: the model; not changed.

    Returns:
        Name to tensor. Replaced tensors are detached.
    """
    tensors = dict(named_tensors(model))
    with evaluating(model):
        for name, value in _computed_weights(model):
            if tensors[name].shape == value.shape:
                tensors[name] = value.detach()
    return tensors


def _computed_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The name of each parameter that a weight is computed from, and the effective weight."""
    for module_name, module in model.named_modules():
        prefix = f"{module_name}." if module_name else ""
        if is_parametrized(module):
            for weight, parametrization in module.parametrizations.items():  # type: ignore[union-attr, operator]
                value = getattr(module, weight)
                for parameter, _ in parametrization.named_parameters(recurse=False):
                    yield f"{prefix}parametrizations.{weight}.{parameter}", value
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                yield f"{prefix}{hook._tensor_name}_orig", hook.apply_mask(module)
            elif isinstance(hook, WeightNorm):
                yield f"{prefix}{hook.name}_v", hook.compute_weight(module)
            elif isinstance(hook, SpectralNorm):
                yield f"{prefix}{hook.name}_orig", hook.compute_weight(module, do_power_iteration=False)
