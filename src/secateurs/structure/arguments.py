"""What a model is called on: how long the axes of its arguments are in one batch, and what of them is padding."""

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
"""Arguments [samples, positions] that are zero where others [samples, positions, ...] are padding, by the names that
Hugging Face's models give them. A mask with more dimensions says who attends to whom, and nothing about padding."""


class Frame(NamedTuple):
    """One batch, in terms of the axes of the trace.

    Attributes:
        samples: their number.
        now: for each axis of an argument, a variable of the size that it has in this batch.
        counted: for those of these variables along which there may be padding, what is none: bool [samples, size]; None
            if all.
    """

    samples: int
    now: Mapping[Axis, Var]
    counted: Mapping[Var, Tensor | None]


@dataclass(frozen=True, eq=False)
class Arguments:
    """The arguments that a model was traced on.

    Attributes:
        axes: of each tensor among them, by name.
        batch: the variable of the samples, if there were several of them and their axis stayed whole.
    """

    axes: Mapping[str, tuple[Axis, ...]]
    batch: Var | None

    @property
    def sequences(self) -> dict[Axis, str]:
        """The axes along which there may be padding, each with the name of the mask that tells."""
        return {
            self.axes[name][1]: mask
            for mask, others in MASKS.items()
            for name in others
            if len(self.axes.get(name, ())) > 1 and _whole(self.axes[name][1])
        }

    def frame(self, tensors: Mapping[str, Tensor], samples: int) -> Frame:
        """What the tensors of one batch, by name, make of these axes.

        Raises:
            DataError: a mask does not fit what it masks, or leaves nothing of a sample.
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
    """Whether the axis is one in all others that it is part of: products lose themselves in those."""
    return not isinstance(axis, Product)


def _of_size(axis: Axis, size: int) -> Var:
    return axis if isinstance(axis, Var) and axis.size == size else Var(size, "position")


def _checked(mask: Tensor, name: str, samples: int, size: int) -> Tensor | None:
    if tuple(mask.shape) != (samples, size):
        raise DataError(f"{name!r} has the shape {list(mask.shape)} for {samples} samples of {size} positions")
    if len(bare := (~mask.any(1)).nonzero()):
        raise DataError(f"{name!r} says that sample {int(bare[0])} is nothing but padding; leave it out")
    return None if mask.all() else mask
