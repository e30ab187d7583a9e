"""Models as the command line names them."""

from __future__ import annotations

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from secateurs.errors import ModelError
from secateurs.experiments.digits import Digits, DigitsNet, train
from secateurs.experiments.specs.names import DIGITS
from secateurs.experiments.specs.python_file import function
from secateurs.huggingface import Pretrained

PRETRAINED = "hf:"


def build(spec: str, weights: str = "", trust_remote_code: bool = False) -> nn.Module:
    """The model named by `spec`.

    Args:
        spec: "py:path/to/file.py:factory", a function that is called with nothing and returns a module; "hf:PATH", a
            directory that `save_pretrained` wrote, or a name on the hub; or "digits", the demo's network, which is
            trained on the spot (seconds) unless there are weights for it.
        weights: a safetensors file for all of its parameters and buffers; by default the model's own.
        trust_remote_code: run Python code that came with a model of the hub.

    Raises:
        ModelError: the factory fails or returns something else than a module, the directory holds no model, or the
            weights do not fit.
    """
    if spec == DIGITS:
        model = DigitsNet() if weights else train(Digits.load())
    elif path := pretrained(spec):
        model = Pretrained(path, trust_remote_code).model()
    else:
        model = _made(spec)
    if weights:
        try:
            safetensors.torch.load_model(model, weights)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"the weights {weights} do not fit model {spec!r}: {error}") from error
    return model.eval()


def pretrained(spec: str) -> str:
    """The directory or the name on the hub in "hf:PATH"; "" for a model of another kind."""
    return spec.removeprefix(PRETRAINED) if spec.startswith(PRETRAINED) else ""


def _made(spec: str) -> nn.Module:
    try:
        model = function(spec)()
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"model {spec!r}: the factory failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {spec!r}: the factory returned a {type(model).__name__}, not a torch.nn.Module")
    return model
