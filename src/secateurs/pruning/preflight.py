"""`check`: what pruning a model would find, before anything is changed."""

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
    """What can be removed from a model and what cannot; `str` is a table.

    Attributes:
        structure: its groups, without those whose removal fails verification; these are among `structure.frozen`.
        failed: the groups that fail, and how.
        cost: of the model, on the example inputs.
        prunable: the share of parameters that lie in at least one group.
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
    """Trace a model and try, on copies, to remove half of every group. Changes nothing.

    Args:
        model: any module. On the meta device it is traced, but no removal is tried.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.
        keep: names or patterns of modules whose units are all kept; see `trace`.
        kinds: the kinds of units that may be removed; see `trace`.

    Returns:
        The groups, what is frozen and why, and which removals failed verification.

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
