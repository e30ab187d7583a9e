"""Check that a model still has the sizes that it was traced with."""

from __future__ import annotations

from torch import nn

from secateurs.errors import ModelError
from secateurs.structure.structure import Structure
from secateurs.utils import check_has_values, named_tensors


def check_shapes(model: nn.Module, structure: Structure) -> None:
    """Check that every parameter and buffer of a structure exists in the model, with the traced shape.

    Raises:
        ModelError: a tensor is missing or has another shape, or the model is on the meta device and has no values.
    """
    check_has_values(model, "training")
    shapes = {name: list(tensor.shape) for name, tensor in named_tensors(model)}
    for name, axes in structure.axes.items():
        traced = [axis.size for axis in axes]
        if shapes.get(name) != traced:
            shape = f"has shape {shapes[name]}" if name in shapes else "does not exist"
            raise ModelError(
                f"{type(model).__name__} has changed since it was traced: {name!r} {shape}, traced as {traced}. The "
                "structure belongs to another model, or the model was cut afterwards; trace the model again"
            )
