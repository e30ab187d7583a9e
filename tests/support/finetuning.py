"""A network to fine-tune, and a training loop in plain PyTorch to compare with."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR


def image_classifier():
    """A classifier of images [3, 6, 6], with the same weights each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Tanh(), nn.Linear(16, 4))


def train_reference(model, batches, recipe, per_step=True):
    """Train in plain PyTorch as the recipe says."""
    kind = SGD if recipe.optimizer == "sgd" else AdamW
    options = {"momentum": recipe.momentum, "nesterov": True} if kind is SGD else {}
    optimizer = kind(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, **options)
    groups = [
        batches[start : start + recipe.grad_accumulation] for start in range(0, len(batches), recipe.grad_accumulation)
    ]
    schedule = CosineAnnealingLR(optimizer, recipe.epochs * (len(groups) if per_step else 1))
    for _ in range(recipe.epochs):
        for group in groups:
            loss = torch.stack([cross_entropy(model(x), y) for x, y in group]).mean()
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            if per_step:
                schedule.step()
        if not per_step:
            schedule.step()
