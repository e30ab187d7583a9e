"""Scores and plans for tests."""

import torch

import secateurs as sc
from secateurs.budgets.plan import GroupPlan


def random_scores(structure, seed=0):
    """One random score in [0, 1) per unit of every group, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(group.size, generator=generator) for name, group in structure.groups.items()}


def random_plan(structure, budget="keep:0.5", seed=0, **options):
    """A plan that removes units at random from every group of the structure."""
    return sc.allocate(structure, random_scores(structure, seed), budget, scope="local", **options)


def plan_keeping(structure, keep):
    """A plan that keeps these units of these groups, and all other groups whole."""
    return sc.Plan(
        groups={name: GroupPlan(units=structure.groups[name].size, keep=tuple(kept)) for name, kept in keep.items()},
        budget="keep:1",
        scope="local",
        dense=structure.cost(),
        pruned=structure.cost({name: len(kept) for name, kept in keep.items()}),
        frozen={},
    )
