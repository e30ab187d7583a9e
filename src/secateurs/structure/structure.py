"""`Structure`: the result of tracing a model, from which units are cut and costs are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from secateurs.data import Call
from secateurs.errors import PlanError
from secateurs.structure.arguments import Arguments
from secateurs.structure.axis import Axis, Var, leaves, resolver, without
from secateurs.structure.contraction import Contraction
from secateurs.structure.cost import Cost
from secateurs.structure.cost_terms import CostTerms, cost_terms
from secateurs.structure.dispatch import Site
from secateurs.structure.groups import Group
from secateurs.structure.indexing import keep_mask
from secateurs.utils import render


@dataclass(frozen=True, eq=False)
class Structure:
    """The result of `trace`: which slices of which tensors are removed together, and what they cost.

    Attributes:
        groups: the groups that can be pruned, by name, in the order in which the model runs.
        frozen: the reason for everything that cannot be pruned, by name.
        axes: the axes of every parameter and buffer, by name.
        parameters: the names among `axes` that are parameters; a shared parameter has its first name only.
        contractions: where weights sum over units, in the order in which the model runs.
        tables: the names of weights in which rows are looked up too, such as a tied embedding.
        macs: axes whose sizes multiply to the multiply-accumulate operations (MACs) of one operator, per operator.
        other_macs: the MACs that never change.
        inputs: the arguments that the model was traced on, on the meta device (sizes without values).
        arguments: the axes of these arguments, and the axis of the samples.
        used: the names of parameters and buffers that the forward pass used.
        results: the axes of each operator's results, not resolved.
        sizes: (module, attribute or None, axis) triples: sizes that modules may hold in attributes.
        splits: (module, parts) pairs: several sizes that a module may hold in one attribute.

    Example:
        >>> structure = sc.trace(model, example_inputs)
        >>> {name: group.size for name, group in structure.groups.items()}
        {'0': 8, '3': 12, '7': 16}
        >>> structure.cost() == sc.cost(model, example_inputs)
        True
        >>> structure.cost({"0": 4}).params < structure.cost().params
        True
    """

    groups: Mapping[str, Group]
    frozen: Mapping[str, str]
    axes: Mapping[str, tuple[Axis, ...]]
    parameters: frozenset[str]
    contractions: tuple[Contraction, ...]
    tables: frozenset[str]
    macs: tuple[tuple[Axis, ...], ...]
    other_macs: int
    sizes: tuple[tuple[str, str | None, Axis], ...]
    splits: tuple[tuple[str, tuple[Axis, ...]], ...]
    inputs: Call
    arguments: Arguments
    used: frozenset[str]
    results: Mapping[Site, Sequence[tuple[Axis, ...]]]

    def cost(self, widths: Mapping[str, int] | None = None) -> Cost:
        """Predict the cost of the cut model.

        Args:
            widths: the number of units left, per group name; other groups are whole. None means the dense model.

        Raises:
            PlanError: a name is not that of a group.
        """
        return self.terms.cost(self.by_variable(widths or {}))

    def by_variable(self, widths: Mapping[str, int]) -> dict[Var, int]:
        """The widths by variable, as `size_of` takes them.

        Raises:
            PlanError: a name is not that of a group.
        """
        return {self.group(name).var: width for name, width in widths.items()}

    @cached_property
    def terms(self) -> CostTerms:
        """The terms of the cost that depend on groups, and the constant rest."""
        variables = {group.var for group in self.groups.values()}
        return cost_terms([self.axes[name] for name in self.parameters], self.macs, self.other_macs, variables)

    def contractions_of(self, group: Group) -> list[Contraction]:
        """The contractions of weights over the units of a group."""
        summed = (c for c in self.contractions if group.var in leaves(c.axis))
        # A unit may be a whole group of a convolution; a sum over the channels inside it is removed with it.
        return [c for c in summed if group.var in leaves(self.axes[c.weight][c.dim])]

    def bias_of(self, contraction: Contraction) -> str | None:
        """The name of the bias of a contraction's layer; None if there is none, or if the layer is an expert."""
        if contraction.expert is not None:
            return None
        module, _, name = contraction.weight.rpartition(".")
        bias = f"{module}.bias".lstrip(".")
        return bias if name == "weight" and bias in self.parameters else None

    def size(self, tensor: str) -> int:
        """The number of entries of a parameter or buffer, by name."""
        return prod(axis.size for axis in self.axes[tensor])

    def prunable(self) -> float:
        """The fraction of parameter entries in tensors that belong to a group, in [0, 1]."""
        inside = {member.tensor for group in self.groups.values() for member in group.members} & self.parameters
        return sum(map(self.size, inside)) / max(sum(map(self.size, self.parameters)), 1)

    def per_sample(self) -> Structure:
        """The same structure with the MACs of one sample, if the model was traced on several."""
        batch = self.arguments.batch
        if batch is None:
            return self
        macs = tuple(tuple(without(axis, batch) for axis in axes) for axes in self.macs)
        return replace(self, macs=macs, other_macs=self.other_macs // batch.size)

    @cached_property
    def resolved_results(self) -> dict[Site, list[list[Axis]]]:
        """`results` with the final form of every axis."""
        resolve = resolver()
        return {site: [list(map(resolve, axes)) for axes in results] for site, results in self.results.items()}

    def group(self, name: str) -> Group:
        """The group with this name.

        Raises:
            PlanError: there is no such group; the message gives the reason if it is frozen.
        """
        if name not in self.groups:
            why = f"is frozen ({self.frozen[name]})" if name in self.frozen else "does not exist in this model"
            raise PlanError(f"group {name!r} {why}; its groups are: {', '.join(self.groups) or 'none'}")
        return self.groups[name]

    def keep_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[str, list[Tensor]]:
        """The indices of every parameter and buffer that stay when groups keep only these units.

        Args:
            keep: indices of the units to keep, per group name; other groups stay whole.

        Returns:
            For each tensor name, one bool mask [size] per dimension.
        """
        masks = self.unit_masks(keep)
        return {name: [keep_mask(axis, masks) for axis in axes] for name, axes in self.axes.items()}

    def unit_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[Var, Tensor]:
        """The units that stay, as one bool mask [units] per variable, as `keep_mask` takes them."""
        masks = {}
        for name, kept in keep.items():
            mask = torch.zeros(self.group(name).size, dtype=torch.bool)
            mask[list(kept)] = True
            masks[self.group(name).var] = mask
        return masks

    def freeze(self, reasons: Mapping[str, str]) -> Structure:
        """The same structure with some groups frozen, given the reason per group name."""
        groups = {name: group for name, group in self.groups.items() if name not in reasons}
        return replace(self, groups=groups, frozen={**self.frozen, **reasons})

    def __str__(self) -> str:
        groups = [
            (g.name, g.kind, g.size, g.modules(consumed=False), g.modules(consumed=True), g.inexact or "exact")
            for g in self.groups.values()
        ]
        text = render(f"{len(groups)} groups", ("group", "kind", "units", "made by", "used by", "removal"), groups)
        return text + "\n" + render(f"{len(self.frozen)} frozen", ("name", "reason"), list(self.frozen.items()))
