"""Communication between the processes of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

if TYPE_CHECKING:  # Accelerate is slow to import, and an extra
    from accelerate import Accelerator


def mean_over_processes(accelerator: Accelerator, value: float) -> float:
    """Compute the mean of a value over all processes. All processes get the same bits."""
    tensor = torch.tensor(value, dtype=torch.float64, device=accelerator.device)
    reduced: Any = accelerator.reduce(tensor, "mean")
    return float(reduced)


def copy_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Copy the buffers of the model in the first process to all other processes."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def raise_in_all_processes(error: Exception | None) -> None:
    """Raise the error of the first process in all processes. Every process must call this function."""
    from accelerate.utils import broadcast_object_list

    errors: list[Any] = [error]
    broadcast_object_list(errors)
    if errors[0] is not None:
        raise errors[0]


def is_equal_in_all_processes(value: Any) -> bool:
    """Whether all processes have the same (hashable) value. Every process must call this function."""
    from accelerate.utils import gather_object

    return len({*gather_object([value])}) == 1
