"""Which entries of weights compete with each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from secateurs.budgets import Budget, numbers, parse_share
from secateurs.errors import BudgetError
from secateurs.structure import Contraction, Structure

SCOPES = {
    "global": "the entries of all weights",
    "layer": "the entries of one weight",
    "row": "the entries that one output of a weight sums over",
}
"""Which entries compete with each other."""

EVERYTHING = "all weights"


class Pattern(NamedTuple):
    """At most `kept` entries are kept of every `of` neighbours along what a weight sums over.

    Where the number of these is no multiple of `of`, the last few are fewer neighbours, with the same limit.
    """

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


def parse(budget: str) -> Budget | Pattern:
    """Read "keep:F", "effective[:B]" or "N:M".

    Raises:
        BudgetError: the text is none of these.
    """
    if found := re.fullmatch(r"(\d+):(\d+)", str(budget)):
        pattern = Pattern(*map(int, found.groups()))
        if not 1 <= pattern.kept < pattern.of:
            raise BudgetError(f'budget {budget!r}: in a pattern "N:M" such as "2:4", N of M are kept with 1 ≤ N < M')
        return pattern
    return parse_share(budget, 'single weights, nor a pattern "N:M" such as "2:4"')


class Pools:
    """The weights' entries, in pools of those that compete.

    A convolution's taps are different entries of one output; neighbours in the sense of a pattern have the same tap.
    """

    def __init__(self, structure: Structure, weights: Mapping[str, Contraction], scope: str, block: int | None):
        self._weights, self._scope, self._block = weights, scope, block
        self._shapes = {name: tuple(axis.size for axis in structure.axes[name]) for name in weights}
        self._outputs = {
            name: structure.results[c.operand.site][0][1].size for name, c in weights.items() if c.convolution
        }

    def gather(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The scores of each weight as [pools, entries], or of all together; short pools are filled up with -∞."""
        if self._scope == "global":
            return {EVERYTHING: torch.cat([its.flatten() for its in scores.values()])[None]}
        if self._scope == "layer":
            return {name: its.reshape(1, -1) for name, its in scores.items()}
        found = {}
        for name, its in scores.items():
            rows = self._rows(name, its)
            if self._block:
                rows = pad(rows, (0, -rows.shape[-1] % self._block), value=-torch.inf)
            found[name] = rows.reshape(-1, self._block or prod(rows.shape[2:]))
        return found

    def counts(self, goal: Budget | Pattern, gathered: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How many entries of each pool are kept in the end: int64 [pools], for scores that `gather` gave."""
        if isinstance(goal, Pattern):
            return {name: (its > -torch.inf).sum(1).clamp(max=goal.kept) for name, its in gathered.items()}
        part = "an output of " if self._scope == "row" else ""
        return {name: numbers(goal, its, part + name) for name, its in gathered.items()}

    def scatter(self, keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `gather`, for masks: bool in the shapes of the weights."""
        if self._scope == "global":
            parts = keep[EVERYTHING][0].split([prod(shape) for shape in self._shapes.values()])
            keep = dict(zip(self._shapes, parts, strict=True))
        if self._scope != "row":
            return {name: keep[name].reshape(shape) for name, shape in self._shapes.items()}
        masks = {}
        for name, its in keep.items():
            masks[name] = torch.empty(self._shapes[name], dtype=torch.bool, device=its.device)
            rows = self._rows(name, masks[name])  # a view
            rows.copy_(its.reshape(*rows.shape[:3], -1)[..., : rows.shape[3]])
        return masks

    def _rows(self, name: str, tensor: Tensor) -> Tensor:
        """A weight as [groups, outputs, inputs, taps]; as [groups, outputs, taps, inputs] where neighbours compete."""
        contraction = self._weights[name]
        if contraction.expert is not None:
            rows = tensor.movedim(contraction.dim, 2)[..., None]
        elif not contraction.convolution:
            rows = tensor.movedim(contraction.dim, 1)[None, :, :, None]
        elif contraction.dim == 1:
            rows = tensor.flatten(2)[None]
        else:  # transposed: [groups × inputs, outputs, taps]
            groups = self._outputs[name] // tensor.shape[1]
            rows = tensor.flatten(2).unflatten(0, (groups, -1)).movedim(2, 1)
        return rows.transpose(2, 3) if self._block else rows
