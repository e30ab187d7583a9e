"""A training between two epochs, as one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from secateurs.errors import PersistError
from secateurs.training.history import History
from secateurs.training.recipe import Recovery
from secateurs.utils import atomic_path

CHECKPOINT = "checkpoint.safetensors"
HEADER = "secateurs"

Scalar = bool | int | float | str | None


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes:
        history: of the epochs that are done.
        steps: of the learning rate schedule that are done.
        model: what training changes, by name; see `trained_tensors`.
        best: the same after the best epoch; empty where none is chosen.
        optimizer: its `state_dict`.
        scaler: that of the gradient scaler of fp16; empty otherwise.
        pruner: that of the pruner, where there is one.
    """

    history: History = field(default_factory=History)
    steps: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Scalar] = field(default_factory=dict)
    pruner: dict[str, Any] | None = None


class _Header(BaseModel):
    """What a checkpoint holds beside tensors: of the optimiser, the values per parameter and per parameter group."""

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants")

    recipe: Recovery
    seed: int
    history: History
    steps: int
    values: dict[str, dict[str, Scalar]]
    groups: list[dict[str, Scalar]]
    scaler: dict[str, Scalar]
    pruner: dict[str, Any] | None


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters that require a gradient, and buffers."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad} | dict(model.named_buffers())


def write(directory: Path, state: TrainingState, recipe: Recovery, seed: int) -> None:
    """Replace the checkpoint in `directory`, whole or not at all.

    Raises:
        PersistError: it cannot be written; the one before is intact.
    """
    tensors = {f"model/{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    values: dict[str, dict[str, Scalar]] = {}
    for index, slots in state.optimizer["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in slots.items() if isinstance(value, Tensor)}
        values[str(index)] = {name: _scalar(name, v) for name, v in slots.items() if not isinstance(v, Tensor)}
    header = _Header(
        recipe=recipe,
        seed=seed,
        history=state.history,
        steps=state.steps,
        values=values,
        groups=[_scalars(group) for group in state.optimizer["param_groups"]],
        scaler=_scalars(state.scaler),
        pruner=state.pruner,
    )
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_path(directory / CHECKPOINT) as path:
            safetensors.torch.save_file(copies, path, {HEADER: header.model_dump_json()})
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        raise PersistError(
            f"the checkpoint cannot be written to {directory}: {error}; the one before, if any, is intact"
        ) from error


def read(directory: Path, recipe: Recovery, seed: int, optimizer: dict[str, Any]) -> TrainingState | None:
    """The checkpoint in `directory`; None if there is none.

    Args:
        directory: see `write`.
        recipe: which the checkpoint must be of.
        seed: likewise.
        optimizer: the `state_dict` of one that has done nothing, to be filled in.

    Raises:
        PersistError: it cannot be read, or is of another recipe or seed.
    """
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = _Header.model_validate_json((file.metadata() or {})[HEADER])
            # Clones, as what is mapped from a file is aligned otherwise, and sums are then rounded otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise PersistError(f"{path} is not a checkpoint of this version: {error}; remove it to begin anew") from error
    if differing := _differences(header, recipe, seed):
        raise PersistError(f"{path} is of another training: {differing}; give another directory, or remove it")
    return TrainingState(
        header.history,
        header.steps,
        _under("model", tensors),
        _under("best", tensors),
        _filled(optimizer, header, _under("optimizer", tensors)),
        header.scaler,
        header.pruner,
    )


def check(tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """See that tensors of a checkpoint are those that training changes in a model.

    Raises:
        PersistError: there are others, or one has another shape or type.
    """
    theirs, ours = _kinds(tensors), _kinds(trained_tensors(model))
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise PersistError(
                f"the checkpoint is of another model: {name!r} is {theirs.get(name, 'not there')} in it, and "
                f"{ours.get(name, 'not there')} in {type(model).__name__}; give another directory, or remove it"
            )


def assign(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write values into a model's tensors of these names."""
    with torch.no_grad():
        for name, tensor in trained_tensors(model).items():
            tensor.copy_(tensors[name])


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: f"{str(tensor.dtype)[6:]}{list(tensor.shape)}" for name, tensor in tensors.items()}


def _differences(header: _Header, recipe: Recovery, seed: int) -> str:
    pairs = {f.name: (getattr(header.recipe, f.name), getattr(recipe, f.name)) for f in fields(recipe)}
    pairs["seed"] = (header.seed, seed)
    return ", ".join(f"{name} was {old!r}, not {new!r}" for name, (old, new) in pairs.items() if old != new)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.partition("/")[0] == prefix}


def _filled(optimizer: dict[str, Any], header: _Header, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in header.values.items()}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state[int(index)][key] = tensor
    groups = [{**group, **kept} for group, kept in zip(optimizer["param_groups"], header.groups, strict=True)]
    return {"state": state, "param_groups": groups}


def _scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    return {name: value for name, value in values.items() if isinstance(value, Scalar)}


def _scalar(name: str, value: Any) -> Scalar:
    if not isinstance(value, Scalar):
        raise PersistError(
            f"the optimiser keeps {name!r} as a {type(value).__name__}, which a checkpoint cannot hold: only tensors, "
            "numbers and text; train without a directory, or with another optimiser"
        )
    return value
