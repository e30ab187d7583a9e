"""The weight files of a cut model: one for each layer, one for all tensors outside of the layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from torch import Tensor

from secateurs.pruning.layerwise.execution_plan import ExecutionPlan
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.structure import sliced
from secateurs.utils import Progress

INDEX = "model.safetensors.index.json"


class WeightFiles:
    """The weights of a cut model, in a directory that `from_pretrained` reads.

    Attributes:
        file_of: tensor name → the name of the file that holds it.
    """

    def __init__(self, directory: Path, dense: OffloadedModel, plan: ExecutionPlan):
        """Assign tensors to files; nothing is written yet."""
        self._directory, self._dense = directory, dense
        parameters = dict(dense.model.named_parameters())
        buffers = [name for name in dense.model.state_dict() if dense.file_names[name] not in dense.parameters]
        assert not set(buffers) & set(parameters), "a tensor that is no parameter must be a buffer"
        parts = [[*plan.shared_parameters, *buffers], *plan.layer_parameters.values()]
        files = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
        self.file_of = {name: file for file, part in zip(files, parts, strict=True) for name in part}

    def write(self, masks: Mapping[str, list[Tensor]], progress: Progress) -> None:
        """Write the entries of each tensor that the masks keep (one mask for each dimension), and the index."""
        total_size = 0
        for file in progress(list(dict.fromkeys(self.file_of.values())), "writing"):
            names = [name for name, other in self.file_of.items() if other == file]
            tensors = {name: sliced(self._dense[name], masks[name]) for name in names}
            total_size += sum(tensor.nbytes for tensor in tensors.values())
            self._save(file, tensors)
        index = {"metadata": {"total_size": total_size}, "weight_map": self.file_of}
        (self._directory / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True), encoding="utf-8")

    @contextmanager
    def edit(self, file: str) -> Iterator[dict[str, Tensor]]:
        """Read a file's tensors, under all names that they have in the model; write back what is changed in place."""
        stored = safetensors.torch.load_file(self._directory / file)
        # Copies, since what is read may be the file itself, mapped into memory.
        tensors = {name: tensor.to(self._dense.device, copy=True) for name, tensor in stored.items()}
        del stored
        yield {name: tensors[own] for name, own in self._dense.file_names.items() if own in tensors}
        self._save(file, tensors)

    def _save(self, file: str, tensors: dict[str, Tensor]) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(tensors, self._directory / file, metadata={"format": "pt"})
