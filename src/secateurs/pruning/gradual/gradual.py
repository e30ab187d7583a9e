"""`gradual`: pruning while a model trains in a loop of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateurs.budgets import Limits, Ramp, resolve_limits
from secateurs.criteria import Named, parse_criterion
from secateurs.data import Loss, cache_batches, first_batch
from secateurs.pruning.gradual.pruner import GradualPruner, Terms


def gradual(
    model: nn.Module,
    optimizer: Optimizer,
    data: Iterable[Any],
    criterion: Named = "ndi",
    budget: str = "macs:0.5",
    *,
    start: int = 0,
    stop: int,
    every: int = 100,
    ramp: str = "cubic",
    loss: Loss | None = None,
    aggregate: str = "auto",
    keep: Sequence[str] = (),
    kinds: Sequence[str] | str | None = None,
    limits: Limits | None = None,
    scope: str | None = None,
    seed: int = 0,
) -> GradualPruner:
    """Prune a model to a budget while it trains, as NDP does: score and cut anew after every so many steps.

    Each cut is made in place and verified, see `secateurs.apply_`: the model itself shrinks, and its optimiser goes on
    with the momentum and second moments of what is left. Random states of the training are untouched. What is gone
    stays gone; no cut leaves more than the ramp says, and the last leaves what the budget says. A group that fails
    verification is left alone from then on (see `GradualPruner.left_alone`).

    Give the bare model, not what DDP, FSDP or `torch.compile` made of it; after each cut, when `GradualPruner.step`
    returns a plan, wrap it anew.

    Args:
        model: the dense model that is being trained.
        optimizer: that trains it, of torch or prepared by Accelerate, with parameters of this model only.
        data: see `secateurs.data.batches`; read once, now, and kept in memory, so that every cut is judged by the
            same samples. Not the loader that you train with, which might shuffle otherwise for having been read.
        criterion: what scores units; see `secateurs.score`.
        budget: of the dense model; see `allocate`. "effective" has no steps on the way, so it cannot be given.
        start: the step after which the ramp begins; the first cut is `every` steps later.
        stop: the step that the last cut follows. Train on after it.
        every: steps between cuts.
        ramp: how much is left on the way: "cubic" (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1: most goes at the
            beginning), "linear" or "geometric".
        loss: for criteria that need gradients; see `score_many`.
        aggregate: see `score_many`.
        keep: names or patterns of modules whose units stay; see `trace`.
        kinds: which kinds of units may go; see `trace`.
        limits: bounds for each group, and whether groups alike get the same width; see `prune`.
        scope: how units compete; see `prune`.
        seed: for criteria that draw random numbers.

    Raises:
        UsageError: the steps are not in order, there is no such ramp, or the optimiser is not this model's.
        BudgetError: the budget has no ramp, or cannot be reached within the limits.
        SecateursError: of the kind that `trace` or `score` raise.

    Example:
        >>> pruner = gradual(model, optimizer, batches, budget="macs:0.5", stop=2000)
        >>> for x, y in loader:
        ...     functional.cross_entropy(model(x), y).backward()
        ...     optimizer.step(), optimizer.zero_grad()
        ...     pruner.step()
        >>> pruner.save("smaller")
    """
    steps = Ramp(budget, start, stop, every, ramp)
    chosen = parse_criterion(criterion)
    data = cache_batches(data)
    terms = Terms(
        data, first_batch(data).sample(2), chosen, loss, aggregate, seed, keep, kinds, resolve_limits(limits, model),
        scope or chosen.scope,
    )  # fmt: skip
    return GradualPruner(model, optimizer, steps, terms)
