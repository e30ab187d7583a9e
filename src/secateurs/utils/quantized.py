"""Quantized models, whose weights are packed so that no unit can be cut out of them."""

from __future__ import annotations

from typing import Any

from torch import nn

from secateurs.errors import ModelError

PACKAGES = (
    "bitsandbytes", "auto_gptq", "gptqmodel", "awq", "hqq", "optimum.quanto", "torchao", "torch.ao.nn.quantized",
)  # fmt: skip
"""Packages whose layers, or kinds of tensors, hold packed weights."""

LAYERS = {"Linear4bit", "Linear8bitLt", "QuantLinear"}
"""Layers that hold packed weights, in packages that bring copies of their own."""


def refuse_quantized(model: nn.Module) -> None:
    """See that a model is not quantized.

    Raises:
        ModelError: its configuration says that it is, or a layer or parameter is of a kind that packs weights.
    """
    refuse_quantized_config(getattr(model, "config", None), type(model).__name__)
    for name, part in [*model.named_modules(), *model.named_parameters()]:
        for kind in type(part).__mro__:
            if kind.__name__ in LAYERS or f"{kind.__module__}.".startswith(
                tuple(f"{package}." for package in PACKAGES)
            ):
                raise _refused(type(model).__name__, f"{name or 'it'} is a {kind.__name__} of {kind.__module__}")


def refuse_quantized_config(config: Any, name: str) -> None:
    """See that a configuration is not that of a quantized model.

    Raises:
        ModelError: it is.
    """
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return
    settings = quantization if isinstance(quantization, dict) else vars(quantization)
    method = settings.get("quant_method", type(quantization).__name__)
    raise _refused(name, f"its configuration names {getattr(method, 'value', method)}")


def _refused(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} is quantized ({why}): units cannot be cut out of packed weights; prune the model that it was made "
        "from, and quantize the result"
    )
