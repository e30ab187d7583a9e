"""`rank_layers`: which layers of a model change the stream that goes through them, and which hardly do."""

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
from secateurs.utils import Progress, need_values, render, silent

INFLUENCE = "block-influence"
CRITERIA = {
    INFLUENCE: "1 − the mean over tokens of the cosine between what goes into a layer and what comes out",
    "random": "a number drawn by the seed: the control that block influence has to beat",
}
"""How layers are scored, higher = keep; either with "reversed-" before it."""


@dataclass(frozen=True)
class LayerRanking:
    """The layers of a model and what each is worth.

    Attributes:
        scores: by name, in the order in which the layers run; higher = keep.
        frozen: layers that cannot be dropped, and why.
        room: by the name of each list or sequence that layers are in, how many modules it holds.
        criterion: of `CRITERIA`.
    """

    scores: Mapping[str, float]
    frozen: Mapping[str, str]
    room: Mapping[str, int]
    criterion: str

    def lowest(self, budget: str) -> tuple[str, ...]:
        """The layers to drop so that no more are kept than asked for: those with the lowest scores.

        No list or sequence is left empty.

        Args:
            budget: "keep:F" for a fraction of the layers that have scores, or "effective", "effective:B".

        Returns:
            Their names, in the order in which they run.

        Raises:
            BudgetError: the budget is none of these, or cannot be met.
        """
        scores = torch.tensor(list(self.scores.values()), dtype=torch.float64)
        count = len(scores) - number(parse_share(budget, "layers"), scores, "the layers")
        left = dict(self.room)
        gone: set[str] = set()
        for name in sorted(self.scores, key=lambda name: self.scores[name]):
            if len(gone) < count and left[container(name)] > 1:
                left[container(name)] -= 1
                gone.add(name)
        if len(gone) < count:
            least = len(scores) - len(gone)
            raise InfeasibleBudgetError(
                f"budget {budget!r} would leave a list of layers empty: of {len(scores)} layers at least {least} stay, "
                f"keep:{least / len(scores):.4f}"
            )
        return tuple(name for name in self.scores if name in gone)

    def __str__(self) -> str:
        order = sorted(self.scores.values())
        rows = [(name, score, order.index(score) + 1) for name, score in self.scores.items()]
        text = render(f"{len(rows)} layers by {self.criterion}", ("layer", "score", "goes as no."), rows)
        if self.frozen:
            text += "\n" + render(f"{len(self.frozen)} frozen", ("name", "reason"), list(self.frozen.items()))
        return text


def rank_layers(
    model: nn.Module, data: Iterable[Any], criterion: str = INFLUENCE, *, seed: int = 0, progress: Progress = silent
) -> LayerRanking:
    """Score whole layers: modules in lists or sequences that add something to a stream (see `find_layers`).

    Block influence is BI = 1 − E[cos(x, y)] over all tokens, or positions of maps, x and y being the features of one of
    them before and after the layer (ShortGPT, arXiv 2403.03853, Eq. 1). What an attention mask leaves out is not
    counted. A token that is zero before and after is unchanged.

    Args:
        model: evaluated, not changed.
        data: see `secateurs.data.batches`; targets are not looked at. Of a shard, all ranks' count.
        criterion: of `CRITERIA`; with "reversed-" before it, the opposite order.
        seed: of "random".
        progress: wraps the iteration over the data.

    Raises:
        CriterionError: there is no such criterion.
        ModelError: the model has no layers, or is on the meta device.
        DataError: the data is empty or can be read only once, the model refuses a batch, or a stream is not finite.
    """
    need_values(model, "ranking its layers")
    plain = criterion.removeprefix(REVERSED) if isinstance(criterion, str) else criterion
    if plain not in CRITERIA:
        raise CriterionError(f"layers cannot be scored by {criterion!r}, only by {', '.join(CRITERIA)}")
    layers = find_layers(model, first_batch(data).sample(2))
    if plain == INFLUENCE:
        values = block_influence(model, data, layers.names, progress)
    else:
        values = torch.rand(len(layers.names), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = -values if criterion.startswith(REVERSED) else values
    return LayerRanking(dict(zip(layers.names, scores.tolist(), strict=True)), layers.frozen, layers.room, criterion)
