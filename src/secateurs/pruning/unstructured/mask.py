"""`mask`: set the entries of weights to zero that count least."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import EFFECTIVE, Budget, Certificate, best, certificates
from secateurs.criteria import CRITERIA, ROUNDS, Criterion, Named, parse_criterion
from secateurs.data import Loss, first_batch
from secateurs.errors import BudgetError, CriterionError, DataError, SecateursWarning, UnscoredWarning, UsageError
from secateurs.pruning.unstructured.entries import BOTH_SIDES, UNSEEN, gradients_for, maskable, score_entries
from secateurs.pruning.unstructured.masked import Masked
from secateurs.pruning.unstructured.pools import SCOPES, Pattern, Pools, parse
from secateurs.structure import Structure, trace
from secateurs.surgery import rebuild
from secateurs.utils import Progress, list_reasons, need_values, silent, warn_user


def mask(
    model: nn.Module,
    data: Iterable[Any] | None,
    criterion: Named = "wanda",
    budget: str = "keep:0.5",
    scope: str | None = None,
    *,
    structure: Structure | None = None,
    keep: Sequence[str] = (),
    loss: Loss | None = None,
    rounds: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Masked:
    """Unstructured and semi-structured pruning: set single weights to zero in a copy of the model.

    Every weight that a linear layer or convolution sums over takes part; tables in which rows are looked up do not,
    nor do weights whose operand cannot be observed, of which a warning tells.

    Args:
        model: the dense model; it is not changed.
        data: see `secateurs.data.batches`. May be None if the criterion needs none and `structure` is given.
        criterion: one that scores single entries; the error of any other lists them.
        budget: "keep:F" keeps ⌊F · entries⌋ of each pool of competing entries, at least one; "effective", or
            "effective:B", as many as its scores' effective sample size, times B (EMP, arXiv 2509.25606); "N:M" at most
            N of every M neighbours along what is summed over (per tap of a convolution; the last neighbours of a row
            whose length is no multiple of M are fewer). Of equal scores those with lower indices are kept.
        scope: which entries compete (see `SCOPES`): "global", "layer" or "row". By default "row" for criteria that
            look at what a weight is multiplied with, such as Wanda, as their scores are errors of one output; "global"
            for others whose scores compare across layers; else "layer". "N:M" leaves no choice.
        structure: from `trace`; by default the model is traced on the first samples of the data.
        keep: names or patterns of modules or parameters whose weights are left alone; see `trace`.
        loss: for criteria that need gradients; see `secateurs.losses.loss_of`.
        rounds: in how many rounds entries are removed, their number falling exponentially, and the rest being scored
            anew after each. By default 100 for SynFlow, as in its paper (arXiv 2006.05467, Algorithm 1), else 1.
        seed: for criteria that draw random numbers.
        progress: wraps the iteration over the data, or over the rounds if there are several.

    Returns:
        The masked copy and its masks.

    Raises:
        ModelError: the model is on the meta device.
        BudgetError: the budget or the scope cannot be understood, or there is nothing to mask.
        CriterionError: the criterion does not score entries, lacks what it needs, or gives a score that is not finite.
        NoMatchError: an entry of `keep` matches nothing.
        DataError: see `secateurs.observe`; or data that can be read only once is needed more often.
        UsageError: `rounds` is no number of rounds.
    """
    need_values(model, "masking")
    chosen, goal = _with_entries(criterion), parse(budget)
    scope = _scope(scope, goal, chosen)
    rounds = _rounds(rounds, chosen)
    _check_needs(chosen, data, loss, rounds)
    if structure is None:
        if data is None:
            raise CriterionError("without data, give the structure: secateurs.trace(model, example_inputs)")
        structure = trace(model, first_batch(data).sample(2))
    weights, skipped = maskable(model, structure, [keep] if isinstance(keep, str) else keep)
    copy = rebuild(model, lambda name, tensor: tensor.clone())
    around, inside = (silent, progress) if rounds == 1 else (progress, silent)
    score = partial(score_entries, copy, data, chosen, structure=structure, loss=loss, seed=seed, progress=inside)
    scores, unscored = score(weights)
    skipped |= unscored
    _report(chosen, scores, unscored, skipped)
    pools = Pools(
        structure, {name: weights[name] for name in scores}, scope, goal.of if isinstance(goal, Pattern) else None
    )
    gathered = pools.gather(scores)
    dense = {name: (its > -torch.inf).sum(1) for name, its in gathered.items()}
    final = pools.counts(goal, gathered)
    certificates = _certificates(goal, gathered, final)
    result = Masked(copy, {}, certificates, skipped, chosen.name, str(goal), scope)
    for number in around(range(1, rounds + 1), "masking"):
        if number > 1:
            scores, _ = score(scores)
            gathered = pools.gather(
                {name: its.masked_fill(~result.masks[name], -torch.inf) for name, its in scores.items()}
            )
        left = {name: _left(dense[name], final[name], number / rounds) for name in gathered}
        result = replace(result, masks=pools.scatter({name: best(its, left[name]) for name, its in gathered.items()}))
        result.reapply()
    _warn_of_empty(result)
    return result


def _left(dense: Tensor, final: Tensor, done: float) -> Tensor:
    """How many entries of each pool are left when this share of the rounds is done: dense^(1 − done) · final^done."""
    return (dense * (final / dense.double()) ** done).round().long()


def _certificates(
    goal: Budget | Pattern, scores: Mapping[str, Tensor], counts: Mapping[str, Tensor]
) -> dict[str, list[Certificate]]:
    if isinstance(goal, Pattern) or goal.quantity != EFFECTIVE:
        return {}
    return {name: certificates(its, goal.fraction, counts[name], name) for name, its in scores.items()}


def _with_entries(name: Named) -> Criterion:
    chosen = parse_criterion(name)
    if not isinstance(chosen, Criterion) or chosen.entries is None:
        able = ", ".join(sorted(c.name for c in CRITERIA.values() if isinstance(c, Criterion) and c.entries))
        raise CriterionError(f"criterion {chosen.name!r} scores whole units only; those for single weights are: {able}")
    return chosen


def _scope(scope: str | None, goal: Budget | Pattern, criterion: Criterion) -> str:
    if scope is not None and scope not in SCOPES:
        raise BudgetError(f"scope {scope!r} is none of {', '.join(SCOPES)}")
    if isinstance(goal, Pattern):
        if scope is not None:
            raise BudgetError(f"budget {str(goal)!r} says itself which entries compete: leave `scope` out")
        return "row"
    return scope or ("row" if criterion.requests else "layer" if criterion.scope == "local" else "global")


def _rounds(rounds: int | None, criterion: Criterion) -> int:
    if rounds is None:
        return ROUNDS if "synaptic-flow" in gradients_for(criterion) else 1
    if not isinstance(rounds, int) or rounds < 1:
        raise UsageError(f"rounds must be a number ≥ 1, not {rounds!r}")
    return rounds


def _check_needs(criterion: Criterion, data: Any, loss: Any, rounds: int) -> None:
    kinds = set(gradients_for(criterion)) - {"synaptic-flow"}
    passes = rounds * (bool(criterion.requests) + bool(kinds) + ("hessian-gradient" in kinds))
    if loss is not None and not kinds:
        raise CriterionError(f"criterion {criterion.name!r} needs no gradients: leave `loss` out")
    if data is None and passes:
        raise CriterionError(f"criterion {criterion.name!r} needs data")
    if isinstance(data, Iterator) and passes > 1:
        raise DataError(f"criterion {criterion.name!r} reads the data {passes} times; give a list or a DataLoader")


def _report(
    criterion: Criterion, scores: Mapping[str, Tensor], unscored: Mapping[str, str], skipped: Mapping[str, str]
) -> None:
    """Tell of weights that are left alone though nobody asked for it."""
    if not scores:
        reasons = "; ".join(f"{name!r} ({why})" for name, why in skipped.items()) or "the model has none"
        raise BudgetError(f"there is nothing to mask: no weight can be scored: {reasons}")
    unseen = {name: why for name, why in skipped.items() if name in unscored or why in (UNSEEN, BOTH_SIDES)}
    if unseen:
        warn_user(
            f"criterion {criterion.name!r} leaves these weights whole: {list_reasons(unseen)}",
            UnscoredWarning,
        )


def _warn_of_empty(result: Masked) -> None:
    if empty := [name for name, share in result.kept.items() if not share]:
        warn_user(
            f"no entry is left of {', '.join(map(repr, empty))}, so that nothing passes there any more; keep more, or "
            'choose scope="layer"',
            SecateursWarning,
        )
