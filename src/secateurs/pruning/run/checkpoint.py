"""A state of a procedure on disk: a saved model, the scores, and the rest as JSON."""

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

MODEL, SCORES, REST = "model", "scores.safetensors", "state.json"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _Rest:
    """What is neither a model nor a tensor."""

    rounds: tuple[Round, ...]
    put_back: Mapping[str, str]
    compensation: Compensation | None

    adapter: ClassVar[TypeAdapter]


_Rest.adapter = TypeAdapter(_Rest)


def keep(state: State, directory: Path, criterion: str) -> None:
    """Write a state to a new directory.

    Raises:
        PersistError, OSError: it cannot be written.
    """
    assert state.plan is not None, "a state is kept after the first round at the earliest"
    directory.mkdir()
    save(directory / MODEL, state.model, state.plan, state.attributes, criterion)
    try:
        safetensors.torch.save_file(
            {name: tensor.contiguous() for name, tensor in state.scores.items()}, directory / SCORES
        )
    except SafetensorError as error:
        raise OSError(str(error)) from error
    rest = _Rest(state.rounds, state.put_back, state.compensation)
    (directory / REST).write_bytes(_Rest.adapter.dump_json(rest, indent=1))


def restore(directory: Path, dense: nn.Module) -> State:
    """Read a state that was kept.

    Args:
        directory: where.
        dense: the dense model; it is not changed.

    Raises:
        PersistError: it cannot be read, or was altered.
    """
    try:
        rest = _Rest.adapter.validate_json((directory / REST).read_bytes())
        scores = safetensors.torch.load_file(directory / SCORES)
    except (OSError, ValidationError, SafetensorError) as error:
        raise PersistError(f"{directory} cannot be read: {error}") from error
    manifest = read_manifest(directory / MODEL)
    return State(
        model=load(directory / MODEL, lambda: dense).to(device_of(dense)),
        plan=Plan.load(directory / MODEL / PLAN),
        attributes=manifest.attributes,
        scores=scores,
        compensation=rest.compensation,
        rounds=rest.rounds,
        put_back=rest.put_back,
    )


def forget_weights(directory: Path) -> None:
    """Remove the weights of a state that a later one stands in for; scores and plan stay.

    Raises:
        OSError: they cannot be removed.
    """
    (directory / MODEL / WEIGHTS).unlink(missing_ok=True)
