"""Identify the model, the data and the settings of a run, so that it is resumed only with the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from secateurs.data import first_batch
from secateurs.pruning.procedure import Procedure
from secateurs.utils import named_tensors, rng


def settings_of(procedure: Procedure) -> dict[str, Any]:
    """Everything that determines the result of a run, as plain data for JSON; functions by name."""
    validation = procedure.validation
    return {
        **procedure.config.replace(limits=procedure.limits, scope=procedure.config.unit_scope).model_dump(mode="json"),
        "loss": _qualified_name(procedure.loss),
        "model": model_digest(procedure.dense),
        "data": data_digest(procedure.data),
        "training": data_digest(procedure.training),
        "validation": None if validation is None else data_digest(validation),
    }


def model_digest(model: nn.Module) -> str:
    """A digest of a model's class and all of its tensors, independent of the device."""
    sha = sha256(type(model).__qualname__.encode())
    for name, tensor in named_tensors(model):
        sha.update(name.encode())
        _update(sha, tensor)
    return sha.hexdigest()


def data_digest(data: Iterable[Any]) -> str:
    """A digest of the first batch and of the number of batches."""
    with rng(0):  # for loaders that shuffle with the global random state
        batch = first_batch(data)
    sha = sha256(str(len(data) if isinstance(data, Sized) else None).encode())
    for leaf in tree_leaves((batch.call.args, batch.call.kwargs, batch.targets)):
        if isinstance(leaf, Tensor):
            _update(sha, leaf)
        else:
            sha.update(repr(leaf).encode())
    return sha.hexdigest()


def _update(sha: Any, tensor: Tensor) -> None:
    """Add the dtype, the shape and the values of a tensor to a digest."""
    sha.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
    sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _qualified_name(function: Any) -> str | None:
    if function is None:
        return None
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
