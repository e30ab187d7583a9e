"""What tracing a model yields: its groups, and everything needed to cut and to count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from secateurs.data import Call
from secateurs.errors import PlanError
from secateurs.structure.arguments import Arguments
from secateurs.structure.axis import Axis, Var, leaves, resolver, without
from secateurs.structure.contraction import Contraction
from secateurs.structure.cost import Cost
from secateurs.structure.dispatch import Site
from secateurs.structure.groups import Group
from secateurs.structure.indexing import keep_mask, size_of
from secateurs.utils import render


class Change(NamedTuple):
    """What a cut changes of the results of one operator.

    Attributes:
        shapes: the shape of each result after the cut.
        dims: the (result, dimension) whose sizes change.
        groups: the groups that they change with.
    """

    shapes: Sequence[Sequence[int]]
    dims: Sequence[tuple[int, int]]
    groups: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Structure:
    """The result of `trace`: which slices of which tensors go together, and what they cost.

    Attributes:
        groups: the groups that can be pruned, by name, in the order in which the model runs.
        frozen: what cannot be pruned, by name, and why.
        axes: the axes of every parameter and buffer.
        parameters: the names among `axes` that are parameters, each tensor under its first name only.
        contractions: where weights sum over units, in the order in which the model runs.
        tables: the weights that are also looked up in, as a tied embedding is.
        macs: axes whose sizes multiply to the multiply-accumulate operations of one operator, per operator.
        other_macs: operations of operators that are counted but never change.
        inputs: what the model was traced on, on the meta device: sizes without values.
        arguments: the axes of that, and of its samples.
        used: the parameters and buffers that the forward pass used.
        results: the axes of what each operator returned, not resolved.
        sizes: (module, attribute or None, axis): sizes that modules may hold in attributes.
        splits: (module, parts): several sizes that a module may hold in one attribute.
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
        """What the model costs when each group named in `widths` has that many units left.

        Raises:
            PlanError: a name is not that of a group.
        """
        left = self.by_variable(widths or {})
        params, macs, fixed = self.terms
        return Cost(
            params=fixed.params + sum(prod(size_of(axis, left) for axis in axes) for axes in params),
            macs=fixed.macs + sum(prod(size_of(axis, left) for axis in axes) for axes in macs),
        )

    def by_variable(self, widths: Mapping[str, int]) -> dict[Var, int]:
        """The same widths by the groups' variables, as `indexing.size_of` takes them.

        Raises:
            PlanError: a name is not that of a group.
        """
        return {self.group(name).var: width for name, width in widths.items()}

    @cached_property
    def terms(self) -> tuple[list[Sequence[Axis]], list[Sequence[Axis]], Cost]:
        """Axes whose sizes multiply to parameters, and to MACs, that groups change; and what none of them changes."""
        variables = {group.var for group in self.groups.values()}

        def parted(terms: Iterable[Sequence[Axis]]) -> tuple[list[Sequence[Axis]], int]:
            moving, fixed = [], 0
            for axes in terms:
                if any(var in variables for axis in axes for var in leaves(axis)):
                    moving.append(axes)
                else:
                    fixed += prod(axis.size for axis in axes)
            return moving, fixed

        params, fixed_params = parted(self.axes[name] for name in self.parameters)
        macs, fixed_macs = parted(self.macs)
        return params, macs, Cost(params=fixed_params, macs=fixed_macs + self.other_macs)

    def contractions_of(self, group: Group) -> list[Contraction]:
        """Where weights sum over the units of a group."""
        summed = (c for c in self.contractions if group.var in leaves(c.axis))
        # Whole groups of a convolution are units too; what sums over such a unit's own channels goes with it.
        return [c for c in summed if group.var in leaves(self.axes[c.weight][c.dim])]

    def bias_of(self, contraction: Contraction) -> str | None:
        """The bias of the layer that a contraction is part of, if it has one; those of experts are left alone."""
        if contraction.expert is not None:
            return None
        module, _, name = contraction.weight.rpartition(".")
        bias = f"{module}.bias".lstrip(".")
        return bias if name == "weight" and bias in self.parameters else None

    def size(self, tensor: str) -> int:
        """Number of entries of a parameter or buffer, by name."""
        return prod(axis.size for axis in self.axes[tensor])

    def prunable(self) -> float:
        """The share of parameters that lie in at least one group, in [0, 1]."""
        inside = {member.tensor for group in self.groups.values() for member in group.members} & self.parameters
        return sum(map(self.size, inside)) / max(sum(map(self.size, self.parameters)), 1)

    def per_sample(self) -> Structure:
        """The same structure with the costs of one sample, where it was traced on several."""
        batch = self.arguments.batch
        if batch is None:
            return self
        macs = tuple(tuple(without(axis, batch) for axis in axes) for axes in self.macs)
        return replace(self, macs=macs, other_macs=self.other_macs // batch.size)

    def changes(self, widths: Mapping[str, int]) -> dict[Site, Change]:
        """What operators return when groups have these widths, for those that return other sizes then."""
        left = self.by_variable(widths)
        names = {self.group(name).var: name for name in widths}
        changed: dict[Site, Change] = {}
        for site, results in self._resolved.items():
            shapes = [[size_of(axis, left) for axis in axes] for axes in results]
            dims = [
                (number, dim)
                for number, axes in enumerate(results)
                for dim, axis in enumerate(axes)
                if shapes[number][dim] != axis.size
            ]
            if dims:
                variables = dict.fromkeys(var for number, dim in dims for var in leaves(results[number][dim]))
                changed[site] = Change(shapes, dims, tuple(names[var] for var in variables if var in names))
        return changed

    @cached_property
    def _resolved(self) -> dict[Site, list[list[Axis]]]:
        resolve = resolver()
        return {site: [list(map(resolve, axes)) for axes in results] for site, results in self.results.items()}

    def group(self, name: str) -> Group:
        """The group of that name.

        Raises:
            PlanError: there is none; the message says so, or why it is frozen.
        """
        if name not in self.groups:
            why = f"is frozen ({self.frozen[name]})" if name in self.frozen else "does not exist in this model"
            raise PlanError(f"group {name!r} {why}; its groups are: {', '.join(self.groups) or 'none'}")
        return self.groups[name]

    def keep_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[str, list[Tensor]]:
        """Which indices of each dimension of every parameter and buffer stay, when groups keep only these units.

        Args:
            keep: indices of the units to keep, per group; groups not named stay whole.

        Returns:
            For each tensor name, one bool mask per dimension.
        """
        masks = self.unit_masks(keep)
        return {name: [keep_mask(axis, masks) for axis in axes] for name, axes in self.axes.items()}

    def unit_masks(self, keep: Mapping[str, tuple[int, ...]]) -> dict[Var, Tensor]:
        """Which units of each of these groups stay, by the groups' variables, as `indexing.keep_mask` takes them."""
        masks = {}
        for name, kept in keep.items():
            mask = torch.zeros(self.group(name).size, dtype=torch.bool)
            mask[list(kept)] = True
            masks[self.group(name).var] = mask
        return masks

    def freeze(self, reasons: Mapping[str, str]) -> Structure:
        """The same structure with these groups frozen, for these reasons."""
        groups = {name: group for name, group in self.groups.items() if name not in reasons}
        return replace(self, groups=groups, frozen={**self.frozen, **reasons})

    def __str__(self) -> str:
        groups = [
            (g.name, g.kind, g.size, g.modules(consumed=False), g.modules(consumed=True), g.inexact or "exact")
            for g in self.groups.values()
        ]
        text = render(f"{len(groups)} groups", ("group", "kind", "units", "made by", "used by", "removal"), groups)
        return text + "\n" + render(f"{len(self.frozen)} frozen", ("name", "reason"), list(self.frozen.items()))
