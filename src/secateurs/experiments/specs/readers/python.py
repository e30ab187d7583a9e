"""py:FILE:FUNCTION: models built by a function in a Python file."""

from __future__ import annotations

from torch import nn

from secateurs.errors import ModelError
from secateurs.experiments.specs.python_file import load_function
from secateurs.experiments.specs.registry import ModelOptions, model_spec


@model_spec("py", "py:FILE:FUNCTION")
def call_factory(argument: str, _: ModelOptions) -> nn.Module:
    """A function (or class) in a Python file that is called without arguments and returns the model."""
    factory = load_function(f"py:{argument}")
    try:
        return factory()
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"model 'py:{argument}': the factory failed: {type(error).__name__}: {error}") from error
