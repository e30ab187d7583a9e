"""The files of a cut model, as `from_pretrained` reads them: one for each layer, one for what lies outside of them."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.errors import PersistError
from secateurs.persist import PLAN
from secateurs.pruning.layerwise.execution_plan import Passage
from secateurs.pruning.layerwise.offloaded_model import Hollow
from secateurs.structure import Structure, sliced
from secateurs.surgery import assign, cut, fit_config, rebuild, unsupported_widths
from secateurs.utils import Progress

INDEX = "model.safetensors.index.json"


def changed_config(model: nn.Module, structure: Structure, plan: Plan) -> Any:
    """The configuration with which the model's class builds the cut model.

    Raises:
        PersistError: there is none; the message says of which groups, and what to do.
    """
    changes, failure = fit_config(model, structure, plan.widths)
    if failure:
        small = cut(rebuild(model, lambda name, its: its.to("meta")), structure.keep_masks(plan.keep))
        reasons = unsupported_widths(small, structure, plan.widths)
        raise PersistError(f"{type(model).__name__} has widths that from_pretrained cannot load: {'; '.join(reasons)}")
    holder = nn.Module()
    holder.config = copy.deepcopy(model.config)
    assign(holder, {"": dict(changes)})
    return holder.config


class Shards:
    """The weights of a cut model, in a directory.

    Attributes:
        place: the name of the file that each tensor is in.
    """

    def __init__(self, directory: Path, hollow: Hollow, passage: Passage):
        """Nothing is written yet."""
        self._directory, self._hollow = directory, hollow
        tensors = dict(hollow.model.named_parameters())
        buffers = [name for name in hollow.model.state_dict() if hollow.first[name] not in hollow.parameters]
        assert not set(buffers) & set(tensors), "what is no parameter is a buffer"
        parts = [[*passage.outside, *buffers], *passage.inside.values()]
        names = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
        self.place = {name: file for file, part in zip(names, parts, strict=True) for name in part}

    def write(self, masks: Mapping[str, list[Tensor]], progress: Progress) -> None:
        """Write what masks leave of each tensor, and the index."""
        size = 0
        for file in progress(list(dict.fromkeys(self.place.values())), "writing"):
            names = [name for name, its in self.place.items() if its == file]
            tensors = {name: sliced(self._hollow[name], masks[name]) for name in names}
            size += sum(tensor.nbytes for tensor in tensors.values())
            self._save(file, tensors)
        index = {"metadata": {"total_size": size}, "weight_map": self.place}
        (self._directory / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True), encoding="utf-8")

    @contextmanager
    def changed(self, file: str) -> Iterator[dict[str, Tensor]]:
        """The tensors in a file, under every name that they have; what is changed in place is written back."""
        read = safetensors.torch.load_file(self._directory / file)
        # Copies, as what is read may be the file itself, mapped into memory.
        tensors = {name: tensor.to(self._hollow.device, copy=True) for name, tensor in read.items()}
        del read
        yield {name: tensors[first] for name, first in self._hollow.first.items() if first in tensors}
        self._save(file, tensors)

    def _save(self, file: str, tensors: dict[str, Tensor]) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(tensors, self._directory / file, metadata={"format": "pt"})


def write_rest(directory: Path, model: nn.Module, config: Any, plan: Plan, source: str, processor: Any) -> None:
    """Write all but the weights: configurations, tokenizer, plan, and code that came with the model.

    Raises:
        PersistError: something cannot be written.
    """
    try:
        config.save_pretrained(directory)
        generation = getattr(model, "generation_config", None)
        if generation is not None:
            generation.save_pretrained(directory)
        if processor is not None:
            processor.save_pretrained(directory)
    except Exception as error:  # a library's class may raise anything
        raise PersistError(f"{type(model).__name__} cannot be saved: {type(error).__name__}: {error}") from error
    for code in Path(source).glob("*.py"):
        shutil.copy(code, directory)
    plan.save(directory / PLAN)
