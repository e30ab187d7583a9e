"""The optimiser and the learning rate schedule of a recipe."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from secateurs.training.recipe import Recovery

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""A function that makes an optimiser of parameters."""


def make_optimizer(
    recipe: Recovery, parameters: list[nn.Parameter], make: MakeOptimizer | None = None
) -> torch.optim.Optimizer:
    """Make the optimiser of a recipe.

    Args:
        recipe: the recipe.
        parameters: the parameters to train.
        make: makes the optimiser instead of the recipe. The learning rate is set to that of the recipe in any case.
    """
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
    """Make the learning rate schedule of a recipe.

    Args:
        recipe: the recipe.
        optimizer: the optimiser whose learning rate changes.
        total: steps of the whole training run.
        start: number of steps that a resumed run has already done.
    """
    return LambdaLR(optimizer, lambda step: lr_factor(recipe, start + step, total))


def lr_factor(recipe: Recovery, step: int, total: int) -> float:
    """The factor in [0, 1] by which the peak learning rate is multiplied at step `step` (from 0) of `total`."""
    done = min(step / total, 1.0)
    decay = {
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "step": 0.1 ** bisect_right(recipe.milestones, done),
        "constant": 1.0,
    }[recipe.lr_schedule]
    warmup = (step + 1) / (recipe.warmup * total) if recipe.warmup else 1.0
    return decay * min(warmup, 1.0)
