"""Copies and comparisons of the weights and buffers of models."""

import torch
from torch import nn


def copy_state(model):
    """A copy of the state dict of a model."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal_states(one, other):
    """Whether two models, or dicts of tensors, have the same names and equal tensors."""
    one, other = (states.state_dict() if isinstance(states, nn.Module) else states for states in (one, other))
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
