"""How the optimiser is made, and how its learning rate goes."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from secateurs.training.recipe import Recovery

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def make_optimizer(
    recipe: Recovery, parameters: list[nn.Parameter], make: MakeOptimizer | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a recipe, or the one that `make` gives, at the recipe's learning rate."""
    if make is not None:
        optimizer = make(parameters)
    elif recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            parameters, momentum=recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=recipe.weight_decay
        )
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr
    return optimizer


def make_schedule(recipe: Recovery, optimizer: torch.optim.Optimizer, total: int, start: int) -> LambdaLR:
    """The schedule of a recipe over `total` steps, of which `start` are done."""
    return LambdaLR(optimizer, lambda step: lr_factor(recipe, start + step, total))


def lr_factor(recipe: Recovery, step: int, total: int) -> float:
    """What the learning rate of step number `step` of `total` is multiplied by, in [0, 1]."""
    done = min(step / total, 1.0)
    falling = {
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "step": 0.1 ** bisect_right(recipe.milestones, done),
        "constant": 1.0,
    }[recipe.lr_schedule]
    rising = (step + 1) / (recipe.warmup * total) if recipe.warmup else 1.0
    return falling * min(rising, 1.0)
