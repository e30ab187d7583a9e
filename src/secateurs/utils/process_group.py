"""The processes that `torchrun` or `accelerate launch` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


@contextmanager
def process_group(device: str = "") -> Iterator[None]:
    """Initialise `torch.distributed` inside the block if `torchrun` or `accelerate launch` started several processes.

    Does nothing for a single process, or if `torch.distributed` is initialised already.

    Args:
        device: "cuda" selects the GPU of this process (`LOCAL_RANK`) and the NCCL backend; anything else uses Gloo.
    """
    if is_single_process() or distributed.is_initialized():
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def is_single_process() -> bool:
    """Whether this process was started alone (`WORLD_SIZE` is 1 or not set)."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def is_first_process() -> bool:
    """Whether this process has rank 0. Reads `RANK`, so that it works before the process group is initialised."""
    return int(os.environ.get("RANK", "0")) == 0


def is_writer() -> bool:
    """Whether this process writes files: rank 0 of the process group, or any process without a process group."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def barrier() -> None:
    """Wait until all processes of the process group have reached this call."""
    if distributed.is_initialized():
        distributed.barrier()
