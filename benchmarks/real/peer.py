"""Torch-Pruning 1.6.1: its pruner and its importances, on our images."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import secateurs as sc
from secateurs.budgets.plan import GroupPlan
from secateurs.errors import BudgetError

NAME = "torch-pruning "
"""How the names of its methods begin in settings."""
STEPS = 400
"""In how many steps it would remove everything; it stops at the budget. As in its own benchmarks."""


def pruned(
    model: nn.Module,
    importance: str,
    data: Iterable[tuple[Tensor, Tensor]],
    share: float,
    keep: Iterable[str],
    everywhere: bool,
) -> nn.Module:
    """A copy pruned step by step, and layer by layer in each, until at most this share of the MACs is left.

    Gradients are taken once, of the dense model; Torch-Pruning cuts them along with the weights.

    Args:
        model: the dense model.
        importance: one of `IMPORTANCES`.
        data: for gradients.
        share: of the MACs.
        keep: names of layers that keep all that they put out.
        everywhere: whether all units compete, or only those of each layer.

    Raises:
        BudgetError: it stopped before.
    """
    import torch_pruning as tp

    model, data = copy.deepcopy(model), list(data)
    example = data[0][0][:1]
    scorer, gradients = IMPORTANCES[importance](tp)
    pruner: Any = tp.pruner.BasePruner(
        model,
        example,
        importance=scorer,
        global_pruning=everywhere,
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        ignored_layers=[model.get_submodule(name) for name in keep],
    )
    if gradients is not None:
        gradients(model, scorer, data)
    positions = _positions(model, example)
    target = share * _macs(positions)
    for _ in range(STEPS):
        for group in pruner.step(interactive=True):
            group.prune()
            if _macs(positions) <= target:
                model.zero_grad()
                return model
    raise BudgetError(f"Torch-Pruning's {importance} does not come down to {share:g} of the MACs")


def plan_of(small: nn.Module, dense: nn.Module, structure: sc.Structure, budget: str) -> sc.Plan:
    """What was removed from a network whose every group is normalised, read off the values of batch norm.

    Args:
        small: what Torch-Pruning left.
        dense: the network before.
        structure: of that, with the groups that Torch-Pruning could prune.
        budget: to be noted.
    """
    before, after = dense.state_dict(), small.state_dict()
    groups = {}
    for name, group in structure.groups.items():
        names = [member.tensor for member in group.members if before[member.tensor].ndim == 1]
        all_of_them, left = (torch.stack([its[name] for name in names], 1) for its in (before, after))
        keep = (left[:, None] == all_of_them).all(2).nonzero()[:, 1].tolist()
        groups[name] = GroupPlan(units=group.size, keep=tuple(keep))
    dense_cost, pruned = structure.cost(), structure.cost({name: len(its.keep) for name, its in groups.items()})
    return sc.Plan(groups=groups, budget=budget, scope=NAME.strip(), dense=dense_cost, pruned=pruned, frozen={})


def _positions(model: nn.Module, example: Tensor) -> dict[nn.Module, int]:
    """How often each layer applies its weights to one sample, which no pruning of channels changes."""
    found: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        found[layer] = output[0, 0].numel()

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        model(example)
    for handle in handles:
        handle.remove()
    return found


def _macs(positions: dict[nn.Module, int]) -> int:
    """What `secateurs.cost` counts for these layers, without a forward pass: there is one count per removed channel."""
    return sum(layer.get_parameter("weight").numel() * times for layer, times in positions.items())


def _of_mean(model: nn.Module, _: Any, data: list[tuple[Tensor, Tensor]]) -> None:
    """The gradient of the mean loss."""
    model.zero_grad()
    for x, y in data:
        (functional.cross_entropy(model(x), y, reduction="sum") / sum(len(y) for _, y in data)).backward()


def _of_samples(model: nn.Module, scorer: Any, data: list[tuple[Tensor, Tensor]]) -> None:
    """The gradient of each sample's loss."""
    for x, y in data:
        for image, label in zip(x.split(1), y.split(1), strict=True):
            model.zero_grad()
            functional.cross_entropy(model(image), label).backward()
            scorer.accumulate_grad(model)


def _summing(tp: Any) -> Any:
    """The Hessian importance with the squares of all samples: 1.6.1 keeps those of the last sample alone."""

    class Summing(tp.importance.HessianImportance):
        def accumulate_grad(self, model: nn.Module) -> None:
            for p in model.parameters():
                assert p.grad is not None, "all of them take part"
                self._accu_grad[p] = self._accu_grad.get(p, 0) + p.grad.square()
                self._counter[p] = self._counter.get(p, 0) + 1

    return Summing()


IMPORTANCES = {
    "l1": lambda tp: (tp.importance.MagnitudeImportance(p=1), None),
    "l2": lambda tp: (tp.importance.MagnitudeImportance(p=2), None),
    "taylor": lambda tp: (tp.importance.TaylorImportance(), _of_mean),
    "hessian": lambda tp: (tp.importance.HessianImportance(), _of_samples),
    "hessian-summed": lambda tp: (_summing(tp), _of_samples),
}
"""By name: the importance, and how it comes to its gradients."""
