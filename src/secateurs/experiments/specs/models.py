"""Build the model that a spec names, such as "hf:PATH"."""

from __future__ import annotations

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from secateurs.errors import ModelError
from secateurs.experiments.specs.registry import MODEL_SPECS, ModelOptions

PRETRAINED = "hf"


def build_model(spec: str, weights: str = "", trust_remote_code: bool = False) -> nn.Module:
    """Build the model that a spec names.

    Args:
        spec: one of the forms in `MODEL_SPECS`, such as "py:path/to/file.py:factory", "hf:PATH" or "digits".
        weights: a safetensors file with all parameters and buffers; "" keeps the weights with which the model is built.
        trust_remote_code: run Python code that is part of a model of the hub.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: the spec has no known form, the model cannot be built, or the weights do not fit.
    """
    prefix, _, argument = spec.partition(":")
    if prefix not in MODEL_SPECS:
        forms = ", ".join(known.form for known in MODEL_SPECS.values())
        raise ModelError(f"model {spec!r} has none of the forms {forms}")
    model = MODEL_SPECS[prefix].read(argument, ModelOptions(bool(weights), trust_remote_code))
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {spec!r}: the factory returned a {type(model).__name__}, not a torch.nn.Module")
    if weights:
        try:
            safetensors.torch.load_model(model, weights)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"the weights {weights} do not fit model {spec!r}: {error}") from error
    return model.eval()


def pretrained_path(spec: str) -> str:
    """The directory or hub name in "hf:PATH"; "" for a spec of another form."""
    prefix, _, path = spec.partition(":")
    return path if prefix == PRETRAINED else ""
