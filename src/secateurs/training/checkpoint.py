"""Checkpoint files: the state of a training run is written to and read from one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from secateurs.errors import PersistError
from secateurs.training.history import History
from secateurs.training.recipe import Recovery
from secateurs.training.state import Scalar, TrainingState
from secateurs.utils import atomic_path

CHECKPOINT = "checkpoint.safetensors"
HEADER = "secateurs"


class _Header(BaseModel):
    """The part of a checkpoint that is not tensors, stored as JSON.

    `values` has the values of the optimiser state by parameter number and name, `groups` the options of the optimiser's
    parameter groups.
    """

    model_config = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants")

    recipe: Recovery
    seed: int
    history: History
    steps: int
    values: dict[str, dict[str, Scalar]]
    groups: list[dict[str, Scalar]]
    scaler: dict[str, Scalar]
    pruner: dict[str, Any] | None


def write(directory: Path, state: TrainingState, recipe: Recovery, seed: int) -> None:
    """Write the checkpoint in `directory` atomically. A previous checkpoint is replaced.

    Args:
        directory: the directory of the checkpoint.
        state: the state of the training run.
        recipe: the recipe of the training run.
        seed: the seed of the training run.

    Raises:
        PersistError: the checkpoint cannot be written. The previous checkpoint is intact.
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
            f"the checkpoint cannot be written to {directory}: {error}. The previous checkpoint, if any, is intact"
        ) from error


def read(directory: Path, recipe: Recovery, seed: int, optimizer: dict[str, Any]) -> TrainingState | None:
    """Read the checkpoint in `directory`.

    Args:
        directory: the directory of the checkpoint.
        recipe: the recipe; the checkpoint must have the same.
        seed: the seed; the checkpoint must have the same.
        optimizer: `state_dict` of a new optimiser, which the result completes.

    Returns:
        The state of the training run; None if there is no checkpoint.

    Raises:
        PersistError: the checkpoint cannot be read, or has another recipe or seed.
    """
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = _Header.model_validate_json((file.metadata() or {})[HEADER])
            # Memory-mapped tensors have another alignment, which changes the rounding of sums. Clones do not.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise PersistError(
            f"{path} is not a checkpoint of this version: {error}. Delete the file to start from the beginning"
        ) from error
    if differing := _differences(header, recipe, seed):
        raise PersistError(
            f"{path} belongs to another training run: {differing}. Give another directory, or delete the file"
        )
    return TrainingState(
        header.history,
        header.steps,
        _with_prefix("model", tensors),
        _with_prefix("best", tensors),
        _optimizer_state(optimizer, header, _with_prefix("optimizer", tensors)),
        header.scaler,
        header.pruner,
    )


def _differences(header: _Header, recipe: Recovery, seed: int) -> str:
    """Describe the differences of recipe and seed; empty if there are none."""
    pairs = {f.name: (getattr(header.recipe, f.name), getattr(recipe, f.name)) for f in fields(recipe)}
    pairs["seed"] = (header.seed, seed)
    return ", ".join(f"{name} was {old!r}, not {new!r}" for name, (old, new) in pairs.items() if old != new)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors named "prefix/...", and remove the prefix from their names."""
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.partition("/")[0] == prefix}


def _optimizer_state(optimizer: dict[str, Any], header: _Header, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Join the saved values and tensors of the optimiser to a `state_dict`."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in header.values.items()}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state[int(index)][key] = tensor
    groups = [{**group, **saved} for group, saved in zip(optimizer["param_groups"], header.groups, strict=True)]
    return {"state": state, "param_groups": groups}


def _scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Select the values that JSON can represent."""
    return {name: value for name, value in values.items() if isinstance(value, Scalar)}


def _scalar(name: str, value: Any) -> Scalar:
    """Check that JSON can represent a value of the optimiser state."""
    if not isinstance(value, Scalar):
        raise PersistError(
            f"the optimiser state has {name!r} of type {type(value).__name__}; a checkpoint supports only tensors, "
            "numbers and text. Train without a directory, or with another optimiser"
        )
    return value
