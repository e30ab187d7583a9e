"""`rank_layers`: score the layers of a model by how much they change the residual stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from secateurs.budgets import number, parse_share
from secateurs.criteria import REVERSED
from secateurs.data import first_batch
from secateurs.errors import CriterionError, InfeasibleBudgetError
from secateurs.pruning.depth.block_influence import block_influence
from secateurs.pruning.depth.find_layers import find_layers
from secateurs.surgery import container
from secateurs.utils import Progress, check_has_values, render, silent

BLOCK_INFLUENCE = "block-influence"
LAYER_CRITERIA = {
    BLOCK_INFLUENCE: "1 − the mean over tokens of the cosine between a layer's input and output",
    "random": "a random number from the seed: the baseline that block influence has to beat",
}
"""The criteria for layers, higher = keep; "reversed-" before a name reverses the order."""


@dataclass(frozen=True)
class LayerRanking:
    """The layers of a model with their scores; `str` renders them as a table.

    Attributes:
        scores: layer name → score, in the order in which the layers run; higher = keep.
        frozen: layers that cannot be dropped, with the reason.
        list_sizes: for each list or sequence that contains layers, the number of its modules.
        criterion: the name of the criterion.

    Example:
        >>> ranking = sc.LayerRanking({"blocks.0": 0.4, "blocks.1": 0.1}, {}, {"blocks": 2}, "block-influence")
        >>> ranking.lowest("keep:0.5")
        ('blocks.1',)
    """

    scores: Mapping[str, float]
    frozen: Mapping[str, str]
    list_sizes: Mapping[str, int]
    criterion: str

    def lowest(self, budget: str) -> tuple[str, ...]:
        """Choose the layers to drop: those with the lowest scores, as many as the budget asks for.

        At least one module of every list or sequence stays.

        Args:
            budget: "keep:F" for a fraction F of the layers that have scores, "effective", or "effective:B".

        Returns:
            The names of the layers, in the order in which they run.

        Raises:
            BudgetError: the budget is none of these, or cannot be met.
        """
        scores = torch.tensor(list(self.scores.values()), dtype=torch.float64)
        count = len(scores) - number(parse_share(budget, "layers"), scores, "the layers")
        remaining = dict(self.list_sizes)
        dropped: set[str] = set()
        for name in sorted(self.scores, key=lambda name: self.scores[name]):
            if len(dropped) < count and remaining[container(name)] > 1:
                remaining[container(name)] -= 1
                dropped.add(name)
        if len(dropped) < count:
            fewest = len(scores) - len(dropped)
            raise InfeasibleBudgetError(
                f"budget {budget!r} would leave a list of layers empty: at least {fewest} of {len(scores)} layers "
                f"stay, keep:{fewest / len(scores):.4f}"
            )
        return tuple(name for name in self.scores if name in dropped)

    def __str__(self) -> str:
        order = sorted(self.scores.values())
        rows = [(name, score, order.index(score) + 1) for name, score in self.scores.items()]
        text = render(f"{len(rows)} layers by {self.criterion}", ("layer", "score", "dropped as no."), rows)
        if self.frozen:
            text += "\n" + render(f"{len(self.frozen)} frozen", ("name", "reason"), list(self.frozen.items()))
        return text


def rank_layers(
    model: nn.Module,
    data: Iterable[Any],
    criterion: str = BLOCK_INFLUENCE,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> LayerRanking:
    """Score whole residual layers: modules in lists or sequences that add something to their input.

    Block influence is BI = 1 − E[cos(x, y)] over all tokens, or positions of feature maps, where x and y are the
    features before and after the layer (ShortGPT, arXiv 2403.03853, Eq. 1). Tokens that an attention mask excludes do
    not count. A token that is zero before and after the layer counts as unchanged.

    Args:
        model: evaluated, not changed.
        data: batches; see `secateurs.data.batches`. Targets are ignored. With a shard, the tokens of all ranks count.
        criterion: "block-influence" or "random"; "reversed-" before it reverses the order.
        seed: the seed of "random".
        progress: wraps the iteration over the data.

    Returns:
        The scores, in the order in which the layers run, and the layers that cannot be dropped.

    Raises:
        CriterionError: the criterion does not exist.
        ModelError: the model has no residual layers, or is on the meta device.
        DataError: the data is empty or can be read only once, the model rejects a batch, or a layer's input or output
            is not finite.

    Example:
        >>> class Residual(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(6, 6)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> ranking = sc.rank_layers(nn.Sequential(Residual(), Residual(), Residual()), [torch.randn(8, 6)])
        >>> list(ranking.scores)
        ['0', '1', '2']
    """
    check_has_values(model, "ranking its layers")
    plain = criterion.removeprefix(REVERSED) if isinstance(criterion, str) else criterion
    if plain not in LAYER_CRITERIA:
        raise CriterionError(f"unknown criterion for layers {criterion!r}; choose one of {', '.join(LAYER_CRITERIA)}")
    layers = find_layers(model, first_batch(data).sample(2))
    if plain == BLOCK_INFLUENCE:
        values = block_influence(model, data, layers.names, progress)
    else:
        values = torch.rand(len(layers.names), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = (-values if criterion.startswith(REVERSED) else values).tolist()
    return LayerRanking(dict(zip(layers.names, scores, strict=True)), layers.frozen, layers.list_sizes, criterion)
