"""Low-rank adapters (LoRA), which are trained instead of the weights and merged into them afterwards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from secateurs.errors import ModelError
from secateurs.utils import require


@contextmanager
def adapters(model: nn.Module, rank: int) -> Iterator[None]:
    """Add adapters to linear and convolutional layers inside the block, and merge them into the weights on exit.

    The adapters (Hu et al. 2021, arXiv 2106.09685, with scaling 1) are the only parameters that require a gradient
    inside the block. A layer gets an adapter if it is an `nn.Linear` or `nn.Conv2d`, its weight requires a gradient and
    is not shared with another layer, and the number of groups of a convolution divides the rank.

    Args:
        model: the model. On exit it has the original layers with merged weights.
        rank: rank of the adapters; 0 does nothing.

    Raises:
        UsageError: peft is not installed.
        ModelError: no layer can have an adapter.
    """
    if not rank:
        yield
        return
    require("peft", "lora")
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = _adaptable_layers(model, rank)
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    attributes = {module: set(vars(module)) for module in model.modules()}
    names = "|".join(re.escape(name) for name in layers)
    try:
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=f"({names})"), model)
        yield
    finally:
        for name, layer in layers.items():
            adapted = model.get_submodule(name)
            if isinstance(adapted, BaseTunerLayer):
                adapted.merge()
                model.set_submodule(name, layer)
        for module, before in attributes.items():
            for name in set(vars(module)) - before:
                delattr(module, name)
        for parameter, requires_grad in trainable.items():
            parameter.requires_grad_(requires_grad)


def _adaptable_layers(model: nn.Module, rank: int) -> dict[str, nn.Module]:
    """Collect the layers that can have an adapter of this rank, by name."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    layers = {
        name: module
        for name, module in model.named_modules()
        if name and _supports_adapter(module, rank) and module.weight.requires_grad and uses[id(module.weight)] == 1
    }
    if not layers:
        raise ModelError(
            f"{type(model).__name__} has no nn.Linear or nn.Conv2d that can have an adapter of rank {rank}. The weight "
            "must require a gradient and not be shared, and the number of groups must divide the rank. Set lora=0 to "
            "train the weights"
        )
    return layers


def _supports_adapter(module: Any, rank: int) -> bool:
    """Whether peft can adapt a layer of this class and number of groups."""
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and rank % module.groups == 0)
