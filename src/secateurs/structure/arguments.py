"""The arguments of a model: sizes of axes in one batch, and the positions that are padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from secateurs.errors import DataError
from secateurs.structure.axis import Axis, Product, Var

MASKS = {
    "attention_mask": ("input_ids", "inputs_embeds"),
    "encoder_attention_mask": ("encoder_hidden_states",),
    "decoder_attention_mask": ("decoder_input_ids", "decoder_inputs_embeds"),
}
"""Names in Hugging Face models: mask [samples, positions], zero at padding, to masked arguments [samples, positions,
...]. A mask with more dimensions describes attention instead of padding."""


class Frame(NamedTuple):
    """The sizes of one batch for the axes of the trace.

    Attributes:
        samples: the number of samples.
        now: traced axis of an argument to a variable with the size of this axis in the batch.
        counted: variable with possible padding to the positions that are not padding, bool [samples, size]; or to
            None if the batch has no padding.
    """

    samples: int
    now: Mapping[Axis, Var]
    counted: Mapping[Var, Tensor | None]


@dataclass(frozen=True, eq=False)
class Arguments:
    """The arguments that a model was traced on.

    Attributes:
        axes: name to the axes of each tensor.
        batch: the variable of the samples; None if there was one sample, or if the axis of the samples was split.
    """

    axes: Mapping[str, tuple[Axis, ...]]
    batch: Var | None

    @property
    def sequences(self) -> dict[Axis, str]:
        """Axis to the name of the mask, for each axis that may contain padding."""
        return {
            self.axes[name][1]: mask
            for mask, masked in MASKS.items()
            for name in masked
            if len(self.axes.get(name, ())) > 1 and _whole(self.axes[name][1])
        }

    def frame(self, tensors: Mapping[str, Tensor], samples: int) -> Frame:
        """Compute the sizes of one batch.

        Args:
            tensors: name of the argument to tensor.
            samples: the number of samples.

        Raises:
            DataError: the shape of a mask does not fit the batch, or a sample consists of padding only.
        """
        now: dict[Axis, Var] = {}
        for name, axes in self.axes.items():
            if name in tensors and tensors[name].ndim == len(axes):
                sizes = zip(axes, tensors[name].shape, strict=True)
                now |= {axis: _of_size(axis, size) for axis, size in sizes if _whole(axis)}
        if self.batch is not None:
            now[self.batch] = _of_size(self.batch, samples)
        counted: dict[Var, Tensor | None] = {}
        for axis, name in self.sequences.items():
            mask = tensors.get(name)
            if mask is not None and mask.ndim == 2:
                now.setdefault(axis, _of_size(axis, mask.shape[1]))
                counted[now[axis]] = _checked(mask != 0, name, samples, now[axis].size)
            elif axis in now:
                counted[now[axis]] = None
        return Frame(samples, now, counted)


def _whole(axis: Axis) -> bool:
    """Whether the axis remains one factor of larger axes; the factors of a product do not stay together."""
    return not isinstance(axis, Product)


def _of_size(axis: Axis, size: int) -> Var:
    return axis if isinstance(axis, Var) and axis.size == size else Var(size, "position")


def _checked(mask: Tensor, name: str, samples: int, size: int) -> Tensor | None:
    """The mask, bool [samples, size], or None if it marks no padding."""
    if tuple(mask.shape) != (samples, size):
        raise DataError(
            f"{name!r} has shape {list(mask.shape)}, but the batch has {samples} samples of {size} positions"
        )
    if len(empty := (~mask.any(1)).nonzero()):
        raise DataError(f"{name!r} marks all positions of sample {int(empty[0])} as padding; leave the sample out")
    return None if mask.all() else mask
