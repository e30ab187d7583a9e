"""A training loop that calls a pruner, and a network with a group that cannot be cut."""

import math

from support.models import HardCoded
from torch import nn
from torch.nn import functional as F


def train_steps(model, optimizer, batches, steps, pruner=None):
    """Train with the batches of these numbers, and return the plan of the pruner, or None, after each step."""
    plans = []
    for number in steps:
        x, y = batches[number % len(batches)]
        loss = F.cross_entropy(model(x), y)
        assert math.isfinite(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        plans.append(pruner and pruner.step())
    return plans


class PartlyHardCoded(HardCoded):
    """A network with one group that cannot be cut and others that can."""

    def __init__(self):
        super().__init__()
        self.third = nn.Linear(5, 10)
        self.last = nn.Linear(10, 4)

    def forward(self, x):
        return self.last(F.relu(self.third(super().forward(x))))


class Flexible(PartlyHardCoded):
    """The same network without a size in its code: every group can be cut."""

    def forward(self, x):
        return self.last(F.relu(self.third(self.head(F.relu(self.second(F.relu(self.first(x))))))))
