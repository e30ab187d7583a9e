"""Gradients by name, for tests that look at the values alone."""

import torch
from torch import nn

import secateurs as sc
from secateurs import observe


def differentiate(model, data, names, loss=None, structure=None, **options):
    """The values of each gradient by its name. Without a structure, only gradients per parameter can be asked for."""
    structure = structure or sc.trace(nn.Linear(1, 1), torch.zeros(1, 1))
    computed = observe.differentiate(model, data, names, structure, loss, **options)
    return {gradient.name: values for gradient, values in computed.items()}
