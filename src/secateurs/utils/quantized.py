"""Refusal of quantized models: units cannot be cut out of packed weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from secateurs.errors import ModelError

PACKAGES = (
    "bitsandbytes", "auto_gptq", "gptqmodel", "awq", "hqq", "optimum.quanto", "torchao", "torch.ao.nn.quantized",
)  # fmt: skip
"""Packages whose layers or tensor classes store packed weights."""

LAYERS = {"Linear4bit", "Linear8bitLt", "QuantLinear"}
"""Names of layers with packed weights that some packages define in modules of their own."""


def refuse_quantized(model: nn.Module) -> None:
    """Check that a model is not quantized.

    Raises:
        ModelError: the configuration has a quantization method, or a layer or parameter stores packed weights.
    """
    refuse_quantized_config(getattr(model, "config", None), type(model).__name__)
    for name, part in [*model.named_modules(), *model.named_parameters()]:
        for kind in type(part).__mro__:
            if kind.__name__ in LAYERS or f"{kind.__module__}.".startswith(
                tuple(f"{package}." for package in PACKAGES)
            ):
                raise _error(type(model).__name__, f"{name or 'the model'} is a {kind.__name__} of {kind.__module__}")


def refuse_quantized_config(config: Any, name: str) -> None:
    """Check that a configuration has no quantization method.

    Args:
        config: configuration of a transformers model, or None.
        name: name of the model, for the error message.

    Raises:
        ModelError: the configuration has a quantization method.
    """
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return
    settings = quantization if isinstance(quantization, dict) else vars(quantization)
    method = settings.get("quant_method", type(quantization).__name__)
    raise _error(name, f"quantization method {getattr(method, 'value', method)} in the configuration")


def _error(name: str, reason: str) -> ModelError:
    """Make the error for a quantized model."""
    return ModelError(
        f"{name} is quantized ({reason}). Units cannot be cut out of packed weights: prune the original model, then "
        "quantize the pruned model"
    )
