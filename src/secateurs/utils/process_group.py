"""Several processes, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


@contextmanager
def process_group(device: str = "") -> Iterator[None]:
    """Join the other processes that `torchrun` or `accelerate launch` started, if they did.

    Args:
        device: "cuda" means that of this process, within.
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
    """Whether `torchrun` started no other process."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def is_first_process() -> bool:
    """Whether this process is the first that `torchrun` started, or the only one; also before they have joined."""
    return int(os.environ.get("RANK", "0")) == 0


def is_writer() -> bool:
    """Whether this process is the one that writes, of those that have joined."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def barrier() -> None:
    """Until all processes are here."""
    if distributed.is_initialized():
        distributed.barrier()
