"""Context managers that change the state of a model or of the random generators and restore it on exit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
"""Modules that scale rows of their weight down to `max_norm`, in place, in every forward pass."""


@contextmanager
def restoring_modes(model: nn.Module) -> Iterator[None]:
    """Restore the training flag of every module on exit."""
    before = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode and disable gradients. Modes, tensors and all random states are restored on exit."""
    with restoring_modes(model), _restoring_tensors(model), rng(), torch.no_grad(), _plain_attention():
        model.eval()
        yield


@contextmanager
def differentiating(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Set evaluation mode and require gradients of all floating-point parameters. The state is restored on exit.

    Attention uses the math backend, because the fused kernels cannot be differentiated twice.

    Yields:
        The parameters by name.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    before = {p: p.requires_grad for p in parameters.values()}
    try:
        with evaluating(model), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for parameter in parameters.values():
                parameter.requires_grad_(True)
            yield dict(parameters)
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Make batch norm layers use the statistics of each batch, also in evaluation mode. Restored on exit."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, variance) in zip(norms, before, strict=True):
            norm.running_mean, norm.running_var = mean, variance


@contextmanager
def _restoring_tensors(model: nn.Module) -> Iterator[None]:
    """Restore on exit the tensors that the model overwrites during a forward pass.

    These are buffers, and the weights of embeddings with a maximum norm.
    """
    tables = {module: dict(module._buffers) for module in model.modules()}
    tensors = [buffer for table in tables.values() for buffer in table.values() if buffer is not None]
    tensors += [module.weight for module in model.modules() if isinstance(module, EMBEDDINGS) and module.max_norm]
    values = {tensor: tensor.detach().clone() for tensor in tensors}
    versions = {tensor: tensor._version for tensor in tensors}
    try:
        yield
    finally:
        with torch.no_grad():
            for module, table in tables.items():
                module._buffers.update(table)
            for tensor, value in values.items():
                if tensor._version != versions[tensor]:
                    tensor.copy_(value)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Disable the fast path of `nn.MultiheadAttention`, which hides the individual operators from the tracer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def rng(seed: int | None = None) -> Iterator[None]:
    """Restore the random states of torch (all devices), NumPy and Python on exit.

    Args:
        seed: if given, all three generators are seeded with it on entry.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed % 2**32)
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
