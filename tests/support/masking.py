"""The oracle of cuts: a masked dense model made without the plan, by the values of the weights alone."""

import copy

import torch
from torch.utils._pytree import tree_leaves


def tensor_outputs(model, inputs):
    """The tensors of the output of a model on a tuple of inputs."""
    with torch.no_grad():
        return [t for t in tree_leaves(model(*inputs)) if isinstance(t, torch.Tensor)]


def zero_removed_weights(dense, small):
    """A copy of `dense` in which every parameter entry whose value does not occur in `small` is zero.

    Every weight is different, so the values alone show which entries were kept. No index of any plan is read.
    """
    masked = copy.deepcopy(dense)
    kept = torch.cat([p.detach().flatten() for p in small.parameters()])
    with torch.no_grad():
        for p in masked.parameters():
            p[~torch.isin(p, kept)] = 0
    return masked
