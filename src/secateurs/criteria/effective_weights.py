"""The weights that act, where a module computes a weight from other tensors.

`torch.nn.utils.prune` multiplies a weight with a mask, `weight_norm` and `spectral_norm` normalise it, and
`torch.nn.utils.parametrize` applies any function. Criteria score the result, under the name of the parameter that has
the same shape.
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
    """All parameters and buffers by name; a parameter that a weight is computed from has the values of that weight.

    Only a parameter of the shape of the weight is replaced. The magnitudes of `weight_norm` have another shape.
    """
    tensors = dict(named_tensors(model))
    with evaluating(model):
        for name, value in _computed_weights(model):
            if tensors[name].shape == value.shape:
                tensors[name] = value.detach()
    return tensors


def _computed_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The names of parameters, and the weights that are computed from them."""
    for module_name, module in model.named_modules():
        prefix = f"{module_name}." if module_name else ""
        if is_parametrized(module):
            for weight, parametrization in module.parametrizations.items():  # type: ignore[union-attr, operator]
                for parameter, _ in parametrization.named_parameters(recurse=False):
                    yield f"{prefix}parametrizations.{weight}.{parameter}", getattr(module, weight)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod):
                yield f"{prefix}{hook._tensor_name}_orig", hook.apply_mask(module)
            elif isinstance(hook, WeightNorm):
                yield f"{prefix}{hook.name}_v", hook.compute_weight(module)
            elif isinstance(hook, SpectralNorm):
                yield f"{prefix}{hook.name}_orig", hook.compute_weight(module, do_power_iteration=False)
