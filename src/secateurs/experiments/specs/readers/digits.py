"""digits and digits:test: the network and the images of the demo."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.data import Dataset

from secateurs.errors import DataError, ModelError
from secateurs.experiments.digits import DIGITS, Digits, DigitsNet, train
from secateurs.experiments.specs.registry import DataOptions, ModelOptions, data_spec, model_spec


@model_spec(DIGITS, DIGITS)
def build_network(argument: str, options: ModelOptions) -> nn.Module:
    """The demo's network for handwritten digits, trained on the spot (seconds) unless weights are given."""
    if argument:
        raise ModelError(f"model '{DIGITS}:{argument}' does not exist: write {DIGITS}")
    return DigitsNet() if options.has_weights else train(Digits.load())


@data_spec(DIGITS, f"{DIGITS} or {DIGITS}:test")
def read_images(argument: str, _: DataOptions) -> Dataset[Any]:
    """The demo's images of handwritten digits: three quarters to train on, or the rest to test on."""
    if argument not in ("", "test"):
        raise DataError(f"data '{DIGITS}:{argument}' does not exist: write {DIGITS} or {DIGITS}:test")
    return Digits.load().test if argument else Digits.load().train
