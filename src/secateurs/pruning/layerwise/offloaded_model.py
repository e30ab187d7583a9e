"""A model whose weights stay in files, except those that are needed at the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from secateurs.utils import named_tensors

Transform = Callable[[str, Tensor], Tensor]
"""Maps a name and the parameter or buffer read under it to the tensor that is used instead."""


class OffloadedModel(Mapping[str, Tensor]):
    """A model without its weights; as a mapping, it reads the tensor of any name from the files.

    Zeros stand in for the parameters, so that the model runs with the same operators as with its weights. All zeros
    share one storage with the size of the largest parameter. Buffers are in memory.

    Attributes:
        model: the module; it computes correct values as far as the weights that it uses are loaded.
        device: the device on which it runs.
        file_names: the name of each tensor → the name under which the files hold it; these differ for tied weights.
    """

    def __init__(
        self,
        model: nn.Module,
        files: Mapping[str, Tensor],
        device: torch.device,
        transform: Transform = lambda name, tensor: tensor,
    ):
        """Take over a model.

        Args:
            model: the module; its parameters may be on the meta device.
            files: its parameters; tied parameters under one of their names.
            device: the device on which the model is to run.
            transform: applied to every tensor that is read.
        """
        self.model, self.device, self._files, self._transform = model, device, files, transform
        _replace_parameters_by_zeros(model, device)
        for name, buffer in list(model.named_buffers()):
            path, _, key = name.rpartition(".")
            model.get_submodule(path)._buffers[key] = transform(name, buffer.to(device))
        self._tensors = dict(named_tensors(model))
        names = {id(tensor): name for name, tensor in self._tensors.items() if name in files}
        self.file_names = {name: names.get(id(tensor), name) for name, tensor in self._tensors.items()}
        self._loaded: set[int] = set()

    @property
    def parameters(self) -> list[str]:
        """The names of all parameters, one for each, as in the files."""
        return list(dict.fromkeys(self.file_names[name] for name, _ in self.model.named_parameters()))

    @contextmanager
    def loaded(self, names: Iterable[str]) -> Iterator[None]:
        """Load these parameters into the model for the duration of the context."""
        parameters = {name: self._tensors[name] for name in names}
        before = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self[name]
                self._loaded.add(id(parameter))
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = before[name]
                self._loaded.discard(id(parameter))

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        if id(tensor) in self._loaded or not isinstance(tensor, nn.Parameter):
            return tensor.detach()
        # A copy, since what is read may be the file itself, mapped into memory; the model may use another dtype.
        stored = self._files[self.file_names[name]].to(self.device, tensor.dtype, copy=True)
        return self._transform(name, stored)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _replace_parameters_by_zeros(model: nn.Module, device: torch.device) -> None:
    """Replace all parameters by zeros that share one storage; tied parameters stay tied."""
    sizes: dict[torch.dtype, int] = {}
    parameters = list(model.parameters())  # keeps them alive, since they are compared by identity below
    for parameter in parameters:
        sizes[parameter.dtype] = max(sizes.get(parameter.dtype, 0), parameter.numel())
    zeros = {dtype: torch.zeros(size, dtype=dtype, device=device) for dtype, size in sizes.items()}
    replacements: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                zero = zeros[parameter.dtype][: parameter.numel()].view(parameter.shape)
                new = nn.Parameter(zero, parameter.requires_grad)
                module._parameters[key] = replacements.setdefault(id(parameter), new)
