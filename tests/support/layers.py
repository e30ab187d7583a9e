"""Models with residual layers, for tests of depth pruning."""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch
from torch import nn

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm", "transformers")):
    pytest.skip("the zoo's libraries are not installed: pip install secateurs[zoo]", allow_module_level=True)

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)
from benchmarks.zoo import BY_NAME


def tiny(name, layers=4):
    """A transformer of the zoo with this number of layers, in float64, and inputs for it."""
    torch.manual_seed(0)
    entry = BY_NAME[name]
    shallow, inputs = entry.build(), entry.inputs()
    config = copy.deepcopy(shallow.config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = ["sliding_attention", "full_attention"] * (layers // 2)
        config.sliding_window = 4
    return type(shallow)(config).double().eval(), inputs


def logits(model, inputs):
    """The model's logits, without gradients."""
    with torch.no_grad():
        return model(**inputs).logits


class ResidualBlock(nn.Module):
    """A layer with an index; without `residual`, it does not add its input."""

    def __init__(self, width, index, residual=True):
        super().__init__()
        self.layer, self.index, self.residual = nn.Linear(width, width), index, residual

    def forward(self, x):
        return torch.tanh(self.layer(x)) + x if self.residual else self.layer(x)


class BlockChain(nn.Module):
    """Blocks in a list; with `uses_depth`, the output depends on the length of the list."""

    def __init__(self, depth=4, residual=True, uses_depth=False):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(6, 10 + i, residual) for i in range(depth))
        self.head, self.uses_depth = nn.Linear(6, 3), uses_depth

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x * len(self.blocks) if self.uses_depth else x)


def block_chain():
    """A chain of four blocks in float64, and inputs [8, 5, 6] for it."""
    torch.manual_seed(0)
    return BlockChain().double(), torch.randn(8, 5, 6, dtype=torch.float64)
