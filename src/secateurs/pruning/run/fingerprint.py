"""What identifies a model, data and settings, so that a run goes on only with what it began with."""

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


def settings(procedure: Procedure) -> dict[str, Any]:
    """Everything that decides how a run ends, as plain data for JSON; functions by name."""
    validation = procedure.validation
    return {
        **procedure.config.replace(limits=procedure.limits, scope=procedure.config.unit_scope).model_dump(mode="json"),
        "loss": _name(procedure.loss),
        "model": of_model(procedure.dense),
        "data": of_data(procedure.data),
        "training": of_data(procedure.training),
        "validation": None if validation is None else of_data(validation),
    }


def of_model(model: nn.Module) -> str:
    """A digest of a model's class and all of its tensors, whatever device they are on."""
    sha = sha256(type(model).__qualname__.encode())
    for name, tensor in named_tensors(model):
        sha.update(name.encode())
        _add(sha, tensor)
    return sha.hexdigest()


def of_data(data: Iterable[Any]) -> str:
    """A digest of the first batch and of the number of batches."""
    with rng(0):  # for loaders that shuffle by the global random state
        batch = first_batch(data)
    sha = sha256(str(len(data) if isinstance(data, Sized) else None).encode())
    for leaf in tree_leaves((batch.call.args, batch.call.kwargs, batch.targets)):
        if isinstance(leaf, Tensor):
            _add(sha, leaf)
        else:
            sha.update(repr(leaf).encode())
    return sha.hexdigest()


def _add(sha: Any, tensor: Tensor) -> None:
    sha.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
    sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _name(function: Any) -> str | None:
    if function is None:
        return None
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
