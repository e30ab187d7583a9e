"""`mask`: set the least important entries of a model's weights to zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.budgets import EFFECTIVE, Budget, Certificate, best, certificates
from secateurs.criteria import Criterion, Named
from secateurs.data import Loss, first_batch
from secateurs.errors import BudgetError, CriterionError, SecateursWarning, UnscoredWarning
from secateurs.pruning.unstructured.comparison_groups import ComparisonGroups
from secateurs.pruning.unstructured.entry_scores import (
    NO_CONTRACTION,
    SEVERAL_DIMENSIONS,
    maskable_weights,
    score_entries,
)
from secateurs.pruning.unstructured.mask_budget import SparsityPattern, parse_mask_budget
from secateurs.pruning.unstructured.mask_options import (
    check_data_and_loss,
    parse_entry_criterion,
    resolve_rounds,
    resolve_scope,
)
from secateurs.pruning.unstructured.masked import Masked
from secateurs.structure import Structure, trace
from secateurs.surgery import rebuild
from secateurs.utils import Progress, check_has_values, list_reasons, silent, warn_user


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
    """Prune single weights: set entries to zero in a copy of the model (unstructured or N:M sparsity).

    Every weight that a linear layer or convolution sums over is masked. Embedding tables are left alone, and so are
    weights whose inputs cannot be observed; a warning names these.

    Args:
        model: the dense model; it is not changed.
        data: batches; see `secateurs.data.batches`. None if the criterion needs no data and `structure` is given.
        criterion: a criterion that scores single entries; the error message for any other lists them.
        budget: "keep:F" keeps ⌊F · entries⌋ of each set of competing entries, at least one. "effective" keeps as many
            as the effective sample size of the scores, "effective:B" B times as many (EMP, arXiv 2509.25606). "N:M"
            keeps at most N of every M consecutive inputs, for each tap of a convolution; the last block of a row may
            be shorter. Of equal scores those with the lower index are kept.
        scope: which entries compete: "global" (all weights), "layer" (one weight) or "row" (one output of a weight).
            The default is "row" for criteria that use the weights' inputs, such as Wanda, whose scores are errors of
            one output; "global" for other criteria with scores that compare across layers; and "layer" for the rest.
            "N:M" does not accept a scope.
        structure: the result of `trace`; by default the model is traced on the first samples of the data.
        keep: names or patterns of modules or parameters whose weights are left alone; see `trace`.
        loss: for criteria that need gradients; see `secateurs.data.loss_of`.
        rounds: the number of rounds in which entries are removed. The number of remaining entries falls exponentially,
            and they are scored again after each round. The default is 100 for SynFlow, as in the paper (arXiv
            2006.05467, Algorithm 1), and 1 for all other criteria.
        seed: for criteria that draw random numbers.
        progress: wraps the iteration over the data, or over the rounds if there are several.

    Returns:
        The masked copy and its masks.

    Raises:
        ModelError: the model is on the meta device.
        BudgetError: the budget or the scope is invalid, or the model has no weight to mask.
        CriterionError: the criterion does not score entries, lacks data, or returns scores that are not finite.
        NoMatchError: an entry of `keep` matches nothing.
        DataError: the data is empty, is rejected by the model, or is an iterator that would be read several times.
        UsageError: `rounds` is not a positive integer.

    Example:
        >>> masked = sc.mask(model, data, "wanda", "2:4")
        >>> 0 < masked.sparsity <= 0.75
        True
    """
    check_has_values(model, "masking")
    parsed, goal = parse_entry_criterion(criterion), parse_mask_budget(budget)
    scope = resolve_scope(scope, goal, parsed)
    rounds = resolve_rounds(rounds, parsed)
    check_data_and_loss(parsed, data, loss, rounds)
    if structure is None:
        if data is None:
            raise CriterionError("without data, give the structure: secateurs.trace(model, example_inputs)")
        structure = trace(model, first_batch(data).sample(2))
    contractions, skipped = maskable_weights(model, structure, [keep] if isinstance(keep, str) else keep)
    copy = rebuild(model, lambda name, tensor: tensor.clone())
    round_progress, data_progress = (silent, progress) if rounds == 1 else (progress, silent)
    score = partial(
        score_entries, copy, data, parsed, structure=structure, loss=loss, seed=seed, progress=data_progress
    )
    scores, unscored = score(contractions)
    skipped |= unscored
    _warn_of_skipped(parsed, scores, unscored, skipped)
    block_size = goal.of if isinstance(goal, SparsityPattern) else None
    groups = ComparisonGroups(structure, {name: contractions[name] for name in scores}, scope, block_size)
    gathered = groups.gather(scores)
    dense_counts = {name: (group_scores > -torch.inf).sum(1) for name, group_scores in gathered.items()}
    final_counts = groups.final_counts(goal, gathered)
    evidence = _certificates(goal, gathered, final_counts)
    result = Masked(copy, {}, evidence, skipped, parsed.name, str(goal), scope)
    for number in round_progress(range(1, rounds + 1), "masking"):
        if number > 1:
            scores, _ = score(scores)
            gathered = groups.gather(_without_removed(scores, result.masks))
        kept = {
            name: best(group_scores, _remaining(dense_counts[name], final_counts[name], number / rounds))
            for name, group_scores in gathered.items()
        }
        result = replace(result, masks=groups.scatter(kept))
        result.reapply()
    _warn_of_empty(result)
    return result


def _remaining(dense: Tensor, final: Tensor, progress: float) -> Tensor:
    """The number of entries left of each comparison group after a share of the rounds: dense^(1 − p) · final^p."""
    return (dense * (final / dense.double()) ** progress).round().long()


def _without_removed(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scores, with -∞ for entries that were removed in an earlier round."""
    return {name: tensor.masked_fill(~masks[name], -torch.inf) for name, tensor in scores.items()}


def _certificates(
    goal: Budget | SparsityPattern, scores: Mapping[str, Tensor], counts: Mapping[str, Tensor]
) -> dict[str, list[Certificate]]:
    if isinstance(goal, SparsityPattern) or goal.quantity != EFFECTIVE:
        return {}
    return {name: certificates(tensor, goal.fraction, counts[name], name) for name, tensor in scores.items()}


def _warn_of_skipped(
    criterion: Criterion, scores: Mapping[str, Tensor], unscored: Mapping[str, str], skipped: Mapping[str, str]
) -> None:
    """Warn of weights that are left alone although nobody asked for it; refuse a model in which all of them are."""
    if not scores:
        reasons = "; ".join(f"{name!r} ({reason})" for name, reason in skipped.items()) or "the model has no weights"
        raise BudgetError(f"no weight can be masked: {reasons}")
    unexpected = {
        name: reason
        for name, reason in skipped.items()
        if name in unscored or reason in (NO_CONTRACTION, SEVERAL_DIMENSIONS)
    }
    if unexpected:
        warn_user(
            f"criterion {criterion.name!r} leaves these weights unmasked: {list_reasons(unexpected)}",
            UnscoredWarning,
        )


def _warn_of_empty(result: Masked) -> None:
    if empty := [name for name, share in result.kept.items() if not share]:
        warn_user(
            f"all entries of {', '.join(map(repr, empty))} are removed, so that the layer's output is constant; "
            'keep more entries or use scope="layer"',
            SecateursWarning,
        )
