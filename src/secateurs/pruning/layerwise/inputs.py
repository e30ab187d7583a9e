"""`LayerwiseInputs`: the dense model, the execution plan and the data, each prepared when it is first used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from secateurs.data import Batch, Call, batches
from secateurs.errors import UsageError
from secateurs.huggingface import Pretrained
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan, plan_execution
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.stages import Stages, open_stages


@dataclass(frozen=True)
class LayerwiseInputs:
    """What `Layerwise` reads. Making one does no work; a property raises what loading, tracing or reading raises.

    Attributes:
        dense: the model as it was saved.
        samples: the data as the user gave it.
        device_name: where the layers run.
        scratch: a directory for weights and for the outputs of the layers; None keeps the outputs in memory.
    """

    dense: Pretrained
    samples: Iterable[Any]
    device_name: str
    scratch: Path | None

    @cached_property
    def device(self) -> torch.device:
        """The device that the layers run on."""
        try:
            return torch.empty(0, device=self.device_name).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"layers cannot be run on device {self.device_name!r}: {error}") from error

    @cached_property
    def offloaded(self) -> OffloadedModel:
        """The model, whose weights stay in files until a layer needs them."""
        return OffloadedModel(*self.dense.without_weights(Path(self._weights_directory.name)), self.device)

    @cached_property
    def execution(self) -> ExecutionPlan:
        """The order in which the layers run, and what they hand on."""
        return plan_execution(self.offloaded.model, self.example, self.offloaded.parameters)

    @cached_property
    def data(self) -> list[Batch]:
        """All batches."""
        return list(batches(self.samples))

    @property
    def example(self) -> Call:
        """Two samples of the largest batch, on the device."""
        return max(self.data, key=lambda batch: sum(t.numel() for t in batch.call.tensors())).sample(2).to(self.device)

    @property
    def bytes_on_disk(self) -> int:
        """The size of the weights that had to be written to other files for reading, in bytes."""
        return sum(file.stat().st_size for file in Path(self._weights_directory.name).rglob("*") if file.is_file())

    def stages(self) -> AbstractContextManager[Stages]:
        """The layers one by one, fed with all data."""
        items = [batch.call if batch.targets is None else (batch.call, batch.targets) for batch in self.data]
        return open_stages(self.offloaded, self.execution, items, self.scratch)

    @cached_property
    def _weights_directory(self) -> tempfile.TemporaryDirectory[str]:
        if self.scratch is not None:
            self.scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="weights-", dir=self.scratch)
