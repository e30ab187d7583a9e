"""`gradual`: pruning while a model trains in a loop of the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from typing_extensions import Unpack

from secateurs.budgets import Budget, Ramp
from secateurs.criteria import Named
from secateurs.data import Loss, cache_batches
from secateurs.pruning.config import ROUNDS_AND_TRAINING, MoreOptions, PruningConfig, resolve_config
from secateurs.pruning.gradual.pruner import GradualPruner


def gradual(
    model: nn.Module,
    optimizer: Optimizer,
    data: Iterable[Any],
    criterion: Named | None = None,
    budget: Budget | str | None = None,
    *,
    config: PruningConfig | None = None,
    start: int = 0,
    stop: int,
    every: int = 100,
    ramp: str = "cubic",
    loss: Loss | None = None,
    **options: Unpack[MoreOptions],
) -> GradualPruner:
    """Prune a model to a budget while it trains, as NDP does: score and cut it again every few steps.

    Each cut is made in place and verified (see `secateurs.apply_`): the model itself shrinks, and its optimiser keeps
    the momentum and second moments of the remaining parameters. Random states of the training do not change. Removed
    units stay removed. No cut leaves more than the ramp allows, and the last one meets the budget. A group that fails
    verification is not cut again (see `GradualPruner.put_back`).

    Give the bare model, not its wrapper by DDP, FSDP or `torch.compile`. When `GradualPruner.step` returns a plan, the
    model was cut: wrap it again.

    Args:
        model: the dense model that is being trained.
        optimizer: the optimiser of the training, of torch or prepared by Accelerate, with parameters of this model
            only.
        data: batches to score on; see `secateurs.data.batches`. They are read once, now, and kept in memory, so that
            the same samples judge every cut. Do not give the loader of the training: reading it may change how it
            shuffles.
        criterion, budget: what scores the units and what is kept; by default those of `config`.
        config: what is removed; by default `PruningConfig(criterion="ndi")`. The weights are not compensated, since
            training follows. The budget "effective" has no steps on the way and is refused.
        start: the step after which the ramp begins; the first cut is `every` steps later.
        stop: the step that the last cut follows. Continue to train after it.
        every: steps between cuts.
        ramp: how much is left on the way: "cubic" (Zhu & Gupta 2017, arXiv 1710.01878, Eq. 1: most is removed at the
            beginning), "linear" or "geometric".
        loss: for criteria that need gradients; see `score_many`.
        **options: fields of `PruningConfig` that replace those of `config`: `scope="global", seed=1`.

    Returns:
        The pruner; call its `step` after each step of the optimiser.

    Raises:
        UsageError: the steps are not in order, there is no such ramp, the optimiser is not this model's, or the
            configuration has a schedule or a recovery of its own.
        BudgetError: the budget has no ramp, or cannot be reached within the limits.
        SecateursError: of the kind that `trace` or `score` raise.

    Example:
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        >>> pruner = sc.gradual(model, optimizer, data, "l2", "macs:0.5", stop=2, every=1)
        >>> for x, y in data[:2]:
        ...     functional.cross_entropy(model(x), y).backward()
        ...     optimizer.step(); optimizer.zero_grad()
        ...     plan = pruner.step()
        >>> pruner.finished
        True
        >>> pruner.save("smaller")
    """
    if config is None and criterion is None:
        criterion = "ndi"
    chosen = resolve_config(config, criterion, budget, options)
    chosen.check_unused(ROUNDS_AND_TRAINING, "gradual")
    steps = Ramp(chosen.budget, start, stop, every, ramp)
    return GradualPruner(model, optimizer, steps, cache_batches(data), chosen, loss)
