"""Comparison groups: sets of weight entries that compete with each other for the budget."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from secateurs.budgets import Budget, numbers
from secateurs.pruning.unstructured.mask_budget import SparsityPattern
from secateurs.structure import Contraction, Structure

MASK_SCOPES = {
    "global": "the entries of all weights",
    "layer": "the entries of one weight",
    "row": "the entries that contribute to one output of a weight",
}
"""Which entries compete with each other."""

ALL_WEIGHTS = "all weights"


class ComparisonGroups:
    """Converts between tensors in the shape of each weight and tensors [comparison groups, entries].

    The taps of a convolution kernel are different entries of one output. Consecutive inputs, in the sense of a
    sparsity pattern, have the same tap.
    """

    def __init__(
        self, structure: Structure, contractions: Mapping[str, Contraction], scope: str, block_size: int | None
    ):
        """Prepare the conversion.

        Args:
            structure: of the model.
            contractions: the weights' names, each with the operator that sums over it.
            scope: of `MASK_SCOPES`.
            block_size: M of a pattern N:M, which cuts each row into blocks; None for other budgets.
        """
        self._contractions, self._scope, self._block_size = contractions, scope, block_size
        self._shapes = {name: tuple(axis.size for axis in structure.axes[name]) for name in contractions}
        self._out_channels = {
            name: structure.results[contraction.operand.site][0][1].size
            for name, contraction in contractions.items()
            if contraction.convolution
        }

    def gather(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores in the shapes of the weights → [comparison groups, entries]; short groups are padded with -∞.

        Returns:
            One tensor for each weight, or one for all weights in the scope "global".
        """
        if self._scope == "global":
            return {ALL_WEIGHTS: torch.cat([tensor.flatten() for tensor in scores.values()])[None]}
        if self._scope == "layer":
            return {name: tensor.reshape(1, -1) for name, tensor in scores.items()}
        gathered = {}
        for name, tensor in scores.items():
            rows = self._rows(name, tensor)
            if self._block_size:
                rows = pad(rows, (0, -rows.shape[-1] % self._block_size), value=-torch.inf)
            gathered[name] = rows.reshape(-1, self._block_size or prod(rows.shape[2:]))
        return gathered

    def final_counts(self, budget: Budget | SparsityPattern, gathered: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The number of entries that each comparison group keeps in the end, int64 [groups]; scores as gathered."""
        if isinstance(budget, SparsityPattern):
            return {name: (scores > -torch.inf).sum(1).clamp(max=budget.kept) for name, scores in gathered.items()}
        part = "an output of " if self._scope == "row" else ""
        return {name: numbers(budget, scores, part + name) for name, scores in gathered.items()}

    def scatter(self, keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Invert `gather` for masks: bool [comparison groups, entries] → bool in the shapes of the weights."""
        if self._scope == "global":
            parts = keep[ALL_WEIGHTS][0].split([prod(shape) for shape in self._shapes.values()])
            keep = dict(zip(self._shapes, parts, strict=True))
        if self._scope != "row":
            return {name: keep[name].reshape(shape) for name, shape in self._shapes.items()}
        masks = {}
        for name, kept in keep.items():
            masks[name] = torch.empty(self._shapes[name], dtype=torch.bool, device=kept.device)
            rows = self._rows(name, masks[name])  # a view, so that writing into it fills the mask
            rows.copy_(kept.reshape(*rows.shape[:3], -1)[..., : rows.shape[3]])
        return masks

    def _rows(self, name: str, tensor: Tensor) -> Tensor:
        """A view [groups, outputs, inputs, taps] of a weight; [groups, outputs, taps, inputs] for a pattern."""
        contraction = self._contractions[name]
        if contraction.expert is not None:
            rows = tensor.movedim(contraction.dim, 2)[..., None]
        elif not contraction.convolution:
            rows = tensor.movedim(contraction.dim, 1)[None, :, :, None]
        elif contraction.dim == 1:
            rows = tensor.flatten(2)[None]
        else:  # transposed: [groups × inputs, outputs, taps]
            groups = self._out_channels[name] // tensor.shape[1]
            rows = tensor.flatten(2).unflatten(0, (groups, -1)).movedim(2, 1)
        return rows.transpose(2, 3) if self._block_size else rows
