"""Plans for tests."""

import torch

import secateurs as sc


def random_plan(structure, budget="keep:0.5", seed=0, **options):
    """A plan that removes units at random from every group of the structure."""
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(group.size, generator=generator) for name, group in structure.groups.items()}
    return sc.allocate(structure, scores, budget, scope="local", **options)
