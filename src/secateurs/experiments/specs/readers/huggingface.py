"""hf:PATH: models of the transformers library."""

from __future__ import annotations

from torch import nn

from secateurs.experiments.specs.models import PRETRAINED
from secateurs.experiments.specs.registry import ModelOptions, model_spec
from secateurs.huggingface import Pretrained


@model_spec(PRETRAINED, f"{PRETRAINED}:PATH")
def load_pretrained(argument: str, options: ModelOptions) -> nn.Module:
    """A directory that `save_pretrained` wrote, or a name on the hub."""
    return Pretrained(argument, options.trust_remote_code).model()
