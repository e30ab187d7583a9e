"""Specs: texts that name models and data on the command line, such as "hf:PATH"; `readers` has a file for each."""

from secateurs.experiments.specs import readers
from secateurs.experiments.specs.data import is_random, read_data, read_dataset
from secateurs.experiments.specs.models import build_model, pretrained_path
from secateurs.experiments.specs.python_file import load_function
from secateurs.experiments.specs.registry import (
    DATA_SPECS,
    MODEL_SPECS,
    DataOptions,
    ModelOptions,
    Spec,
    data_spec,
    model_spec,
)

__all__ = [
    "DATA_SPECS",
    "MODEL_SPECS",
    "DataOptions",
    "ModelOptions",
    "Spec",
    "build_model",
    "data_spec",
    "is_random",
    "load_function",
    "model_spec",
    "pretrained_path",
    "read_data",
    "read_dataset",
    "readers",
]
