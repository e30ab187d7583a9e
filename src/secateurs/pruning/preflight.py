"""`check`: find out which groups of a model can be pruned, without changing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from secateurs.budgets import allocate
from secateurs.structure import Cost, Structure, trace
from secateurs.surgery import apply_and_report


@dataclass(frozen=True)
class Preflight:
    """The groups of a model that can be pruned, and those that cannot; `str` renders a table.

    Attributes:
        structure: the groups that can be pruned, and in `structure.frozen` everything that cannot, with the reason.
        failed: group name → the reason, for each group whose removal failed verification; also in `structure.frozen`.
        cost: the cost of the model on the example inputs.
        prunable: the share of parameters that lie in at least one group, in [0, 1].
    """

    structure: Structure
    failed: dict[str, str]
    cost: Cost
    prunable: float

    def __str__(self) -> str:
        return (
            f"{self.structure}\n{self.cost}; {self.prunable:.0%} of the parameters lie in groups that can be pruned; "
            f"{len(self.failed)} groups were tried and failed\n"
        )


def check(
    model: nn.Module, example_inputs: Any, keep: Sequence[str] = (), kinds: Sequence[str] | str | None = None
) -> Preflight:
    """Trace a model, and try on a copy to remove half of the units of every group.

    Args:
        model: any module; it is not changed. On the meta device it is traced, but no removal is tried.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.
        keep: names or patterns of modules whose units are all kept; see `trace`.
        kinds: the kinds of units that may be removed; see `trace`.

    Returns:
        The groups, the frozen axes with their reasons, and the groups whose removal failed verification.

    Raises:
        SecateursError: of the kind that `trace` and `apply` raise.

    Example:
        >>> report = sc.check(model, example_inputs)
        >>> [group.kind for group in report.structure.groups.values()]
        ['channel', 'channel', 'neuron']
        >>> report.failed
        {}
    """
    structure = trace(model, example_inputs, keep, kinds)
    failed: dict[str, str] = {}
    if structure.groups and not any(p.is_meta for p in model.parameters()):
        scores = {name: torch.arange(group.size) for name, group in structure.groups.items()}
        plan = allocate(structure, scores, "keep:0.5", scope="local")
        failed = apply_and_report(model, plan, example_inputs, structure).put_back
        structure = structure.freeze(failed)
    return Preflight(structure, failed, structure.cost(), structure.prunable())
