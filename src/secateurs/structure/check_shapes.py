"""Check that a model has the shapes of its structure."""

from __future__ import annotations

from torch import nn

from secateurs.errors import ModelError
from secateurs.structure.structure import Structure
from secateurs.utils import check_has_values, named_tensors


def check_shapes(model: nn.Module, structure: Structure) -> None:
    """Check that every parameter and buffer of a structure exists in the model with the traced shape.

    Args:
        model: the model.
        structure: from `trace`.

    Raises:
        ModelError: a tensor is missing or has a different shape, or the model is on the meta device.
    """
    check_has_values(model, "training")
    shapes = {name: list(tensor.shape) for name, tensor in named_tensors(model)}
    for name, axes in structure.axes.items():
        traced = [axis.size for axis in axes]
        if shapes.get(name) != traced:
            shape = f"has shape {shapes[name]}" if name in shapes else "does not exist"
            raise ModelError(
                f"{type(model).__name__} differs from the traced model: {name!r} {shape}, traced as {traced}. Either "
                "the structure belongs to another model, or the model was cut after the trace; trace the model again"
            )
