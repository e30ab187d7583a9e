"""A small pruned model that is saved."""

import torch
from torch import nn

import secateurs as sc


def build_mlp():
    """The dense model."""
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def save_pruned(directory):
    """Prune the model, save it to a directory, and return the result."""
    result = sc.prune(build_mlp(), [torch.randn(8, 4)], criterion="nexp", budget="keep:0.5")
    result.save(directory)
    return result
