"""A model whose weights stay in their files but for those that are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secateurs.utils import named_tensors

Change = Callable[[str, Tensor], Tensor]
"""What becomes of a parameter or buffer of that name as it is read."""


class Hollow(Mapping[str, Tensor]):
    """A model without its weights, and its tensors, under every name that they have, read when asked for.

    In the place of each parameter are zeros, so that the model runs, and by the same operators as with its weights.
    All zeros share one memory, of the size of the largest parameter. Buffers are there.

    Attributes:
        model: runs right where all that it uses is loaded.
        device: where it runs.
        first: of each name, that under which the tensor is kept in the files.
    """

    def __init__(
        self,
        model: nn.Module,
        files: Mapping[str, Tensor],
        device: torch.device,
        change: Change = lambda name, tensor: tensor,
    ):
        """Take over a model.

        Args:
            model: its parameters may be on the meta device.
            files: its parameters, those that are tied under one of their names.
            device: where the model is to run.
            change: is made of all tensors.
        """
        self.model, self.device, self._files, self._change = model, device, files, change
        _empty(model, device)
        for name, buffer in list(model.named_buffers()):
            path, _, key = name.rpartition(".")
            model.get_submodule(path)._buffers[key] = change(name, buffer.to(device))
        self._tensors = dict(named_tensors(model))
        names: dict[int, str] = {id(its): name for name, its in self._tensors.items() if name in files}
        self.first = {name: names.get(id(its), name) for name, its in self._tensors.items()}
        self._loaded: set[int] = set()

    @property
    def parameters(self) -> list[str]:
        """The names of all parameters, one for each, as in the files."""
        return list(dict.fromkeys(self.first[name] for name, _ in self.model.named_parameters()))

    @contextmanager
    def loaded(self, names: Iterable[str]) -> Iterator[None]:
        """Have these parameters in their places."""
        places = {name: self._tensors[name] for name in names}
        before = {name: place.data for name, place in places.items()}
        try:
            for name, place in places.items():
                place.data = self[name]
                self._loaded.add(id(place))
            yield
        finally:
            for name, place in places.items():
                place.data = before[name]
                self._loaded.discard(id(place))

    def __getitem__(self, name: str) -> Tensor:
        place = self._tensors[name]
        if id(place) in self._loaded or not isinstance(place, nn.Parameter):
            return place.detach()
        # A copy, as what is read may be the file itself, mapped into memory; a model may want another precision.
        return self._change(name, self._files[self.first[name]].to(self.device, place.dtype, copy=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _empty(model: nn.Module, device: torch.device) -> None:
    """Put zeros, all in the same memory, in the place of parameters; those that were tied still are."""
    sizes: dict[torch.dtype, int] = {}
    parameters = list(model.parameters())  # held, as they are told apart by identity
    for its in parameters:
        sizes[its.dtype] = max(sizes.get(its.dtype, 0), its.numel())
    zeros = {dtype: torch.zeros(size, dtype=dtype, device=device) for dtype, size in sizes.items()}
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for key, its in module._parameters.items():
            if its is not None:
                zero = zeros[its.dtype][: its.numel()].view(its.shape)
                module._parameters[key] = made.setdefault(id(its), nn.Parameter(zero, its.requires_grad))
