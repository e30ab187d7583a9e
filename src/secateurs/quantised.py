"""Quantised models, whose weights are packed so that no unit can be cut out of them."""

from __future__ import annotations

from typing import Any

from torch import nn

from secateurs.errors import ModelError

PACKAGES = {"bitsandbytes", "auto_gptq", "gptqmodel", "awq"}
"""Libraries whose layers hold packed weights."""


def refuse_quantised(model: nn.Module) -> None:
    """See that a model is not quantised.

    Raises:
        ModelError: its configuration says that it is, or a layer is of a library that packs weights.
    """
    refuse_quantised_config(getattr(model, "config", None), type(model).__name__)
    for name, module in model.named_modules():
        package = type(module).__module__.partition(".")[0]
        if package in PACKAGES:
            raise _refused(type(model).__name__, f"{name or 'it'} is a {type(module).__name__} of {package}")


def refuse_quantised_config(config: Any, name: str) -> None:
    """See that a configuration is not that of a quantised model.

    Raises:
        ModelError: it is.
    """
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return
    settings = quantisation if isinstance(quantisation, dict) else vars(quantisation)
    method = settings.get("quant_method", type(quantisation).__name__)
    raise _refused(name, f"its configuration names {getattr(method, 'value', method)}")


def _refused(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} is quantised ({why}): units cannot be cut out of packed weights; prune the model that it was made "
        "from, and quantise the result"
    )
