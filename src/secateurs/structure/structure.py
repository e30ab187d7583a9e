"""The result of tracing a model (`Structure`): groups of units, and the cost of the model as a function of widths."""

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
    """The result of `trace`: the slices of tensors that are removed together, and the terms of the cost.

    Attributes:
        groups: name to group, for the groups that can be pruned, in the order in which the model runs.
        frozen: name to reason, for all axes of parameters that cannot be pruned.
        axes: name to the axes of each parameter and buffer.
        parameters: the names in `axes` that are parameters; a shared parameter appears with its first name only.
        contractions: the operator calls in which weights sum over units, in the order in which the model runs.
        tables: the names of weights that are also lookup tables, such as a tied embedding.
        macs: for each operator call, axes; the product of their sizes is the number of multiply-accumulate operations
            (MACs).
        other_macs: the number of MACs that do not depend on any axis.
        inputs: the arguments that the model was traced on, on the meta device (sizes without values).
        arguments: the axes of these arguments, and the axis of the samples.
        used: the names of parameters and buffers that the forward pass used.
        results: operator call to the axes of each result, not resolved.
        sizes: (module, attribute or None, axis) triples: sizes that modules may store in attributes.
        splits: (module, axes) pairs: several sizes that a module may store in one attribute.

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
            widths: group name to number of kept units; missing groups keep all units. None means the dense model.

        Raises:
            PlanError: a group does not exist.
        """
        return self.terms.cost(self.by_variable(widths or {}))

    def by_variable(self, widths: Mapping[str, int]) -> dict[Var, int]:
        """Convert widths by group name to sizes by variable, for `size_of`.

        Raises:
            PlanError: a group does not exist.
        """
        return {self.group(name).var: width for name, width in widths.items()}

    @cached_property
    def terms(self) -> CostTerms:
        """The cost as a function of the sizes of variables."""
        variables = {group.var for group in self.groups.values()}
        return cost_terms([self.axes[name] for name in self.parameters], self.macs, self.other_macs, variables)

    def contractions_of(self, group: Group) -> list[Contraction]:
        """List the contractions that sum over the units of a group."""
        summed = (c for c in self.contractions if group.var in leaves(c.axis))
        # If units are whole groups of a convolution, the sums inside the groups are removed together with the units.
        return [c for c in summed if group.var in leaves(self.axes[c.weight][c.dim])]

    def bias_of(self, contraction: Contraction) -> str | None:
        """The name of the bias of a contraction's layer; None for a layer without a bias and for experts."""
        if contraction.expert is not None:
            return None
        module, _, name = contraction.weight.rpartition(".")
        bias = f"{module}.bias".lstrip(".")
        return bias if name == "weight" and bias in self.parameters else None

    def size(self, tensor: str) -> int:
        """The number of entries of the parameter or buffer with this name."""
        return prod(axis.size for axis in self.axes[tensor])

    def prunable(self) -> float:
        """Compute the fraction of parameter entries that are in members of groups, in [0, 1]."""
        inside = {member.tensor for group in self.groups.values() for member in group.members} & self.parameters
        return sum(map(self.size, inside)) / max(sum(map(self.size, self.parameters)), 1)

    def per_sample(self) -> Structure:
        """Create a structure with the MACs of one sample, if the model was traced on several samples."""
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
        """Look up a group by name.

        Raises:
            PlanError: the group does not exist or is frozen; the message gives the reason.
        """
        if name not in self.groups:
            reason = f"is frozen ({self.frozen[name]})" if name in self.frozen else "does not exist in this model"
            raise PlanError(f"group {name!r} {reason}; the groups of the model are: {', '.join(self.groups) or 'none'}")
        return self.groups[name]

    def keep_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[str, list[Tensor]]:
        """Compute the kept indices of every parameter and buffer.

        Args:
            keep: group name to the indices of the kept units; missing groups keep all units.

        Returns:
            Name of the parameter or buffer to one bool mask [size] per dimension.
        """
        masks = self.unit_masks(keep)
        return {name: [keep_mask(axis, masks) for axis in axes] for name, axes in self.axes.items()}

    def unit_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[Var, Tensor]:
        """Convert kept units by group name to masks, bool [units], by variable, for `keep_mask`."""
        masks = {}
        for name, kept in keep.items():
            mask = torch.zeros(self.group(name).size, dtype=torch.bool)
            mask[list(kept)] = True
            masks[self.group(name).var] = mask
        return masks

    def freeze(self, reasons: Mapping[str, str]) -> Structure:
        """Create a structure with more frozen groups, given a mapping from group name to reason."""
        groups = {name: group for name, group in self.groups.items() if name not in reasons}
        return replace(self, groups=groups, frozen={**self.frozen, **reasons})

    def __str__(self) -> str:
        groups = [
            (g.name, g.kind, g.size, g.modules(consumed=False), g.modules(consumed=True), g.inexact or "exact")
            for g in self.groups.values()
        ]
        text = render(f"{len(groups)} groups", ("group", "kind", "units", "produced by", "used by", "removal"), groups)
        return text + "\n" + render(f"{len(self.frozen)} frozen", ("name", "reason"), list(self.frozen.items()))
