"""The record of one trace, from which `build_structure` builds a `Structure`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis
from secateurs.structure.dispatch import Site
from secateurs.structure.records import Activation, Arrival, Consumption, SizeUse, Source

Axes = tuple[Axis, ...]


@dataclass
class TraceRecord:
    """The findings of the tracer and the operator rules in one forward pass.

    Attributes:
        tensor_axes: name to the axes of each parameter and buffer.
        first_names: name of each parameter and buffer to the first name of the same tensor; they differ for shared
            tensors.
        used: the first names of used parameters and buffers, in the order of use (a dict as ordered set).
        used_in_training: the same for a forward pass in training mode, where one was made.
        passed_on: by module name, the axes of the arguments of the module and of the outputs of its children.
        inputs: name to the axes of each tensor among the inputs of the model.
        batch: the axis of the samples.
        results: operator call to the axes of each result.
        sorted_at: operator call with rows in the order of experts to the sort that caused it.
        macs: for each operator call, axes; the product of their sizes is the number of multiply-accumulate operations
            (MACs).
        other_macs: counted MACs that do not depend on any axis.
        contracted: the (name, dimension) pairs of parameters that an operator summed over.
        consumptions: all sums over an axis of data.
        activations: all non-linearities in the path of the data.
        arrivals: operator call of a layer to the place where its outputs meet other data.
        produced: the results of convolutions, matrix products and lookups.
        heads: the axes of the heads of attentions.
        head_dims: the axes of the vectors inside heads.
        repeated: axes of repetitions.
        experts: axes of experts, which are sub-networks that a router sends rows to.
        tables: the names of parameters that are lookup tables.
        minimums: (axis, number) pairs: at least this number of indices must be kept, because it is chosen at once.
        multiples: (axis, number) pairs: the size must remain a multiple of the number.
        sizes: sizes that modules may store in attributes.
        splits: (module, axes) pairs: the parts that a module splits one axis into.
    """

    tensor_axes: dict[str, Axes] = field(default_factory=dict)
    first_names: dict[str, str] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    used_in_training: dict[str, None] = field(default_factory=dict)
    passed_on: dict[str, list[Axes]] = field(default_factory=dict)
    inputs: Mapping[str, Axes] = field(default_factory=dict)
    batch: Axis = ax.ONE
    results: dict[Site, list[Axes]] = field(default_factory=dict)
    sorted_at: dict[Site, Site] = field(default_factory=dict)
    macs: list[Axes] = field(default_factory=list)
    other_macs: int = 0
    contracted: set[tuple[str, int]] = field(default_factory=set)
    consumptions: list[Consumption] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    arrivals: dict[Site, Arrival] = field(default_factory=dict)
    produced: list[Source] = field(default_factory=list)
    heads: list[Axis] = field(default_factory=list)
    head_dims: list[Axis] = field(default_factory=list)
    repeated: list[Axis] = field(default_factory=list)
    experts: list[Axis] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    minimums: list[tuple[Axis, int]] = field(default_factory=list)
    multiples: list[tuple[Axis, int]] = field(default_factory=list)
    sizes: list[SizeUse] = field(default_factory=list)
    splits: list[tuple[str, Axes]] = field(default_factory=list)
