"""Write and read the state of a run: a saved model, the scores, and everything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import safetensors.torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from torch import nn

from secateurs.budgets import Plan
from secateurs.errors import PersistError
from secateurs.persist import PLAN, WEIGHTS, load, read_manifest, save
from secateurs.pruning.state import Round, State
from secateurs.surgery import Compensation
from secateurs.utils import device_of

MODEL, SCORES, STATE = "model", "scores.safetensors", "state.json"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _PlainState:
    """The parts of a state that are neither a model nor tensors."""

    rounds: tuple[Round, ...]
    put_back: Mapping[str, str]
    compensation: Compensation | None

    adapter: ClassVar[TypeAdapter]


_PlainState.adapter = TypeAdapter(_PlainState)


def write_state(state: State, directory: Path, criterion: str) -> None:
    """Write a state to a new directory.

    Raises:
        PersistError, OSError: the state cannot be written.
    """
    assert state.plan is not None, "a state is written after the first round at the earliest"
    directory.mkdir()
    save(directory / MODEL, state.model, state.plan, state.attributes, criterion)
    try:
        safetensors.torch.save_file(
            {name: tensor.contiguous() for name, tensor in state.scores.items()}, directory / SCORES
        )
    except SafetensorError as error:
        raise OSError(str(error)) from error
    plain = _PlainState(state.rounds, state.put_back, state.compensation)
    (directory / STATE).write_bytes(_PlainState.adapter.dump_json(plain, indent=1))


def read_state(directory: Path, dense: nn.Module) -> State:
    """Read a state that `write_state` wrote.

    Args:
        directory: the directory of the state.
        dense: the dense model; it is not changed.

    Raises:
        PersistError: the state cannot be read, or was altered.
    """
    try:
        plain = _PlainState.adapter.validate_json((directory / STATE).read_bytes())
        scores = safetensors.torch.load_file(directory / SCORES)
    except (OSError, ValidationError, SafetensorError) as error:
        raise PersistError(f"{directory} cannot be read: {error}") from error
    manifest = read_manifest(directory / MODEL)
    return State(
        model=load(directory / MODEL, lambda: dense).to(device_of(dense)),
        plan=Plan.load(directory / MODEL / PLAN),
        attributes=manifest.attributes,
        scores=scores,
        compensation=plain.compensation,
        rounds=plain.rounds,
        put_back=plain.put_back,
    )


def delete_weights(directory: Path) -> None:
    """Delete the weights of a state that is no longer the latest one; scores and plan stay.

    Raises:
        OSError: the weights cannot be deleted.
    """
    (directory / MODEL / WEIGHTS).unlink(missing_ok=True)
