"""Everything that one trace writes down, from which `build_structure` makes a `Structure`."""

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
    """What the tracer and the operator rules found out during one forward pass.

    Attributes:
        tensor_axes: the axes of each parameter and buffer, by name.
        first_names: for each parameter and buffer, the first name of the same tensor; differs where it is shared.
        used: parameters and buffers, by first name, in the order in which operators used them (a dict as ordered set).
        inputs: the axes of each tensor that the model was called on, by name.
        batch: the axis of the samples.
        results: the axes of each result of each operator.
        sorted_at: for operators that return rows sorted by expert, the site of the sort.
        macs: axes whose sizes multiply to the multiply-accumulate operations (MACs) of an operator.
        other_macs: MACs that are counted and depend on no axis.
        contracted: the (name, dimension) of parameters that an operator summed over.
        consumptions: every sum over an axis of data.
        activations: every non-linearity that data passed.
        arrivals: where the outputs of a layer meet other data, by the site of the layer's product.
        produced: the results of convolutions, matrix products and look-ups.
        heads: axes over which an attention runs in parallel.
        head_dims: axes of the vectors of an attention's heads.
        repeated: axes that count repetitions.
        experts: axes whose indices are sub-networks, each run on the rows that a router sends to it.
        tables: parameters in which rows are looked up.
        minimums: (axis, number) pairs: at least so many indices must stay, because as many are chosen at once.
        multiples: (axis, number) pairs: the size must stay a multiple of the number.
        sizes: sizes that modules may hold in an attribute.
        splits: (module, parts) pairs: the axes that a module split one axis into.
    """

    tensor_axes: dict[str, Axes] = field(default_factory=dict)
    first_names: dict[str, str] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
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
