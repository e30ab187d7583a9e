"""Export to a program of `torch.export`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from secateurs.data import Call
from secateurs.persist.export import Runner, export_format


@export_format("pt2")
def write_pt2(model: nn.Module, call: Call, path: Path) -> Runner:
    """A `.pt2` file of `torch.export` with graph and weights, which runs without the Python code of the model.

    The number of samples is dynamic if the model allows it. All other sizes are fixed to those of the example inputs.
    """
    sizes = torch.export.ShapesCollection()
    for tensor in call.tensors():
        if tensor.ndim and len(tensor) > 1:  # a dimension of size 1 is always exported as a constant
            sizes[tensor] = {0: torch.export.Dim.AUTO}
    shapes = sizes.dynamic_shapes(model, call.args, call.kwargs)
    program = torch.export.export(model, call.args, call.kwargs, dynamic_shapes=shapes)
    with path.open("wb") as file:
        torch.export.save(program, file)
    return torch.export.load(path).module()
