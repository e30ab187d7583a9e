"""Whether a model still has the sizes that its structure tells of."""

from __future__ import annotations

from torch import nn

from secateurs.errors import ModelError
from secateurs.structure.structure import Structure
from secateurs.utils import named_tensors, need_values


def check_shapes(model: nn.Module, structure: Structure) -> None:
    """See that every parameter and buffer of a structure is in the model, with the same shape.

    Raises:
        ModelError: one is not: the structure is another model's, or the model was cut since. Or it has no values.
    """
    need_values(model, "training")
    shapes = {name: list(tensor.shape) for name, tensor in named_tensors(model)}
    for name, axes in structure.axes.items():
        traced = [axis.size for axis in axes]
        if shapes.get(name) != traced:
            found = f"is {shapes[name]}" if name in shapes else "is not there"
            raise ModelError(
                f"{type(model).__name__} is not as it was traced: {name!r} {found}, but was {traced}. The structure is "
                "another model's, or the model was cut since; trace it again, and begin anew with that"
            )
