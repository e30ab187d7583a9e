"""Set-up of Hugging Face Accelerate for a model: precision, processes and trackers. All changes are undone on exit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    ProjectConfiguration,
    parse_flag_from_env,
)
from torch import distributed, nn

from secateurs.errors import UsageError
from secateurs.training.recipe import Recovery

LOGS = "logs"
_ADDED_ATTRIBUTES = ("forward", "_original_forward", "_is_accelerate_prepared")
"""Attributes that `Accelerator.prepare_model` sets on a model."""


@contextmanager
def accelerated(
    model: nn.Module, device: torch.device, recipe: Recovery, directory: Path | None
) -> Iterator[tuple[Accelerator, nn.Module]]:
    """Yield an accelerator for the device of the model, and the model prepared for it.

    The environment (`torchrun`, `accelerate launch`) determines the processes, and the recipe all other settings. On
    exit, the model and the global state of Accelerate are restored, and gradients are deleted.

    Args:
        model: the model to train.
        device: the device of the model.
        recipe: precision and trackers.
        directory: the directory of trackers.

    Raises:
        UsageError: the environment or the device is not supported, or a tracker is not installed.
    """
    with _separate_state():
        accelerator = _make_accelerator(device, recipe, directory)
        before = {name: vars(model)[name] for name in _ADDED_ATTRIBUTES if name in vars(model)}
        try:
            yield accelerator, accelerator.prepare_model(model, device_placement=False)
        finally:
            for name in _ADDED_ATTRIBUTES:
                vars(model).pop(name, None)
            vars(model).update(before)
            for parameter in model.parameters():
                parameter.grad = None
            for tracker in accelerator.trackers:  # `end_training` would also destroy the user's process group
                tracker.finish()


def _make_accelerator(device: torch.device, recipe: Recovery, directory: Path | None) -> Accelerator:
    """Make the accelerator, check the environment, and start the trackers."""
    if recipe.mixed_precision == "fp16" and device.type == "cpu":
        raise UsageError("mixed precision fp16 needs a GPU: move the model to one, or use bf16")
    if missing := set(recipe.trackers) - {str(tracker) for tracker in get_available_trackers()}:
        raise UsageError(f"tracker {', '.join(sorted(missing))} is not installed: install the package of that name")
    try:
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=recipe.mixed_precision,
            log_with=list(recipe.trackers) or None,
            project_config=directory and ProjectConfiguration(str(directory), logging_dir=str(directory / LOGS)),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except (ValueError, ImportError, RuntimeError) as error:
        raise UsageError(f"Accelerate cannot be set up: {error}") from error
    _check_environment(accelerator, device)
    if recipe.trackers:
        values = {name: v if isinstance(v, (bool, int, float, str)) else repr(v) for name, v in asdict(recipe).items()}
        accelerator.init_trackers("secateurs", values)
    return accelerator


def _check_environment(accelerator: Accelerator, device: torch.device) -> None:
    """Check that the processes use plain data parallelism and that the model is on the device of this process."""
    supported = DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU
    fsdp = parse_flag_from_env("ACCELERATE_USE_FSDP")  # on CPUs, Accelerate silently uses DDP instead
    if fsdp or accelerator.distributed_type not in supported:
        kind = "FSDP" if fsdp else accelerator.distributed_type.value
        raise UsageError(f"training under {kind} is not supported: launch data parallel (DDP) processes")
    started = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    if accelerator.num_processes != started:
        raise UsageError(
            f"torch.distributed has {started} processes, but the environment has {accelerator.num_processes}: start "
            "the script with torchrun or accelerate launch"
        )
    expected = accelerator.device
    if accelerator.num_processes > 1 and expected.type != "cpu" and device != expected:
        raise UsageError(
            f"process {accelerator.process_index} trains on {expected}, but the model is on {device}: move it to "
            f"{expected}"
        )


@contextmanager
def _separate_state() -> Iterator[None]:
    """Clear the global state of Accelerate on entry and restore it on exit. Other accelerators stay valid."""
    shared = [kind._shared_state for kind in (AcceleratorState, PartialState, GradientState)]
    before = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        yield
    finally:
        for state, values in zip(shared, before, strict=True):
            state.clear()
            state.update(values)
