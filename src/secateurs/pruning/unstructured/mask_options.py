"""Check the arguments of `mask`, and resolve those that depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from secateurs.budgets import Budget
from secateurs.criteria import CRITERIA, Criterion, Named, parse_criterion, scoring_passes
from secateurs.errors import BudgetError, CriterionError, DataError, UsageError
from secateurs.pruning.unstructured.comparison_groups import MASK_SCOPES
from secateurs.pruning.unstructured.mask_budget import SparsityPattern


def parse_entry_criterion(criterion: Named) -> Criterion:
    """Parse a criterion that scores single entries, with only the needs of these; see `mask`."""
    parsed = parse_criterion(criterion)
    if not isinstance(parsed, Criterion) or parsed.entries is None:
        able = ", ".join(sorted(c.name for c in CRITERIA.values() if isinstance(c, Criterion) and c.entries))
        raise CriterionError(
            f"criterion {parsed.name!r} scores whole units only; choose one for single weights: {able}"
        )
    return parsed.for_entries


def resolve_scope(scope: str | None, budget: Budget | SparsityPattern, criterion: Criterion) -> str:
    """The scope that was asked for, or the one that suits the criterion; see `mask`."""
    if scope is not None and scope not in MASK_SCOPES:
        raise BudgetError(f"unknown scope {scope!r}; choose one of {', '.join(MASK_SCOPES)}")
    if isinstance(budget, SparsityPattern):
        if scope is not None:
            raise BudgetError(f"budget {str(budget)!r} determines which entries compete: leave `scope` out")
        return "row"
    return scope or ("row" if criterion.requests else "layer" if criterion.scope == "local" else "global")


def resolve_rounds(rounds: int | None, criterion: Criterion) -> int:
    """The number of rounds that was asked for, or the criterion's own; see `mask`."""
    if rounds is None:
        return criterion.entry_rounds
    if not isinstance(rounds, int) or rounds < 1:
        raise UsageError(f"rounds must be an integer ≥ 1, not {rounds!r}")
    return rounds


def check_data_and_loss(criterion: Criterion, data: Any, loss: Any, rounds: int) -> None:
    """Check that the data can be read as often as necessary, and that a loss is given only where it is used."""
    passes = rounds * scoring_passes([criterion])
    if loss is not None and not criterion.needs_loss:
        raise CriterionError(f"criterion {criterion.name!r} needs no gradients: leave `loss` out")
    if data is None and criterion.needs_data:
        raise CriterionError(f"criterion {criterion.name!r} needs data")
    if isinstance(data, Iterator) and passes > 1:
        raise DataError(f"criterion {criterion.name!r} reads the data {passes} times; give a list or a DataLoader")
