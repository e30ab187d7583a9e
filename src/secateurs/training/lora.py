"""Low-rank adapters: trained in the place of the weights, and merged into them afterwards."""

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
    """Give linear and convolutional layers adapters, the only parameters that require a gradient; merged on leaving.

    Every `nn.Linear` and `nn.Conv2d` gets one (Hu et al. 2021, arXiv 2106.09685; scaled by 1) whose weight is to be
    trained and is no other layer's too, save convolutions with a number of groups that does not divide the rank.

    Args:
        model: gets its own layers back, with the adapters in their weights.
        rank: of the adapters; 0 leaves the model as it is.

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

    layers = _layers(model, rank)
    required = {parameter: parameter.requires_grad for parameter in model.parameters()}
    own = {module: set(vars(module)) for module in model.modules()}
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
        for module, attributes in own.items():
            for name in set(vars(module)) - attributes:
                delattr(module, name)
        for parameter, requires in required.items():
            parameter.requires_grad_(requires)


def _layers(model: nn.Module, rank: int) -> dict[str, nn.Module]:
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    layers = {
        name: module
        for name, module in model.named_modules()
        if name and _adaptable(module, rank) and module.weight.requires_grad and uses[id(module.weight)] == 1
    }
    if not layers:
        raise ModelError(
            f"{type(model).__name__} has no nn.Linear or nn.Conv2d that could have an adapter of rank {rank}: with a "
            "weight of its own that requires a gradient, and a number of groups that divides the rank; lora=0 trains "
            "the weights themselves"
        )
    return layers


def _adaptable(module: Any, rank: int) -> bool:
    return type(module) is nn.Linear or (type(module) is nn.Conv2d and rank % module.groups == 0)
