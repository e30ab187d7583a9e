"""Hugging Face Accelerate around a model: precision, processes and trackers, without a mark that stays."""

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
_MARKS = ("forward", "_original_forward", "_is_accelerate_prepared")


@contextmanager
def accelerated(
    model: nn.Module, device: torch.device, recipe: Recovery, directory: Path | None
) -> Iterator[tuple[Accelerator, nn.Module]]:
    """An accelerator for the device that the model is on, and the model prepared for it; no mark is left on either.

    The environment (`torchrun`, `accelerate launch`) says which processes there are, the recipe all else.

    Raises:
        UsageError: the environment or the device is not fit for it, or a tracker is not installed.
    """
    with _own_state():
        accelerator = _accelerator(device, recipe, directory)
        before = {name: vars(model)[name] for name in _MARKS if name in vars(model)}
        try:
            yield accelerator, accelerator.prepare_model(model, device_placement=False)
        finally:
            for name in _MARKS:
                vars(model).pop(name, None)
            vars(model).update(before)
            for parameter in model.parameters():
                parameter.grad = None
            for tracker in accelerator.trackers:  # `end_training` would end the process group, which is not ours
                tracker.finish()


def _accelerator(device: torch.device, recipe: Recovery, directory: Path | None) -> Accelerator:
    if recipe.mixed_precision == "fp16" and device.type == "cpu":
        raise UsageError("mixed precision fp16 needs a GPU: move the model to one, or use bf16")
    if missing := set(recipe.trackers) - {str(tracker) for tracker in get_available_trackers()}:
        raise UsageError(f"tracker {', '.join(sorted(missing))} is not installed: pip install it")
    try:
        accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=recipe.mixed_precision,
            log_with=list(recipe.trackers) or None,
            project_config=directory and ProjectConfiguration(str(directory), logging_dir=str(directory / LOGS)),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except (ValueError, ImportError, RuntimeError) as error:
        raise UsageError(f"training cannot be set up here: {error}") from error
    _check(accelerator, device)
    if recipe.trackers:
        values = {name: v if isinstance(v, (bool, int, float, str)) else repr(v) for name, v in asdict(recipe).items()}
        accelerator.init_trackers("secateurs", values)
    return accelerator


def _check(accelerator: Accelerator, device: torch.device) -> None:
    kinds = DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU
    fsdp = parse_flag_from_env("ACCELERATE_USE_FSDP")  # on CPUs, Accelerate would fall back to DDP without a word
    if fsdp or accelerator.distributed_type not in kinds:
        kind = "FSDP" if fsdp else accelerator.distributed_type.value
        raise UsageError(f"training under {kind} is not supported; launch plain data parallel (DDP) processes")
    started = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    if accelerator.num_processes != started:
        raise UsageError(
            f"torch.distributed has {started} processes, but the environment names {accelerator.num_processes}: start "
            "the script with torchrun or accelerate launch"
        )
    wanted = accelerator.device
    if accelerator.num_processes > 1 and wanted.type != "cpu" and device != wanted:
        raise UsageError(f"process {accelerator.process_index} trains on {wanted}: move its model there from {device}")


@contextmanager
def _own_state() -> Iterator[None]:
    """Let an accelerator begin afresh, and give back the state of those that were there before, which all share."""
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
