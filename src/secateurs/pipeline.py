"""`prune`: the whole way through the house in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from secateurs.budgets import Limits, allocate
from secateurs.compensate import Compensation
from secateurs.compensate import compensate as take_over
from secateurs.costs import Cost, cost
from secateurs.criteria import Named, find, score
from secateurs.data import first_batch
from secateurs.errors import DataError, UsageError
from secateurs.losses import Loss
from secateurs.persist import save
from secateurs.plan import Plan
from secateurs.preserve import rng
from secateurs.progress import Progress, silent
from secateurs.structure import Structure, trace
from secateurs.surgery import Attributes, operate


@dataclass(frozen=True)
class Result:
    """A pruned model with the evidence for what was done.

    Attributes:
        model: the pruned model; train it in place as you like.
        plan: what was removed.
        scores: the scores that decided, per group.
        cost: of the pruned model, on the example inputs.
        dense_cost: of the dense model.
        criterion: the name of the criterion.
        structure: groups of the dense model; `structure.frozen` says what was left alone and why.
        inexact: pruned groups whose removal changes what the remaining units compute, and why.
        attributes: attributes of modules that were changed, per module name.
        compensation: what the units that stay took over, if that was asked for.
    """

    model: nn.Module
    plan: Plan
    scores: Mapping[str, Tensor]
    cost: Cost
    dense_cost: Cost
    criterion: str
    structure: Structure
    inexact: Mapping[str, str]
    attributes: Attributes
    compensation: Compensation | None

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model as it is now, with its plan, to a new directory; see `secateurs.load`.

        Raises:
            PersistError: the directory exists already or cannot be written.
        """
        save(directory, self.model, self.plan, self.attributes, self.criterion, overwrite)

    def __str__(self) -> str:
        return f"{self.plan}{self.criterion}: {self.dense_cost} → {self.cost}\n"


def prune(
    model: nn.Module,
    data: Iterable[Any],
    criterion: Named = "nexp",
    budget: str = "macs:0.5",
    example_inputs: Any = None,
    seed: int = 0,
    *,
    loss: Loss | None = None,
    aggregate: str = "mean",
    compensate: bool = True,
    keep: Sequence[str] = (),
    kinds: Sequence[str] | str | None = None,
    limits: Limits | None = None,
    scope: str | None = None,
    progress: Progress = silent,
) -> Result:
    """Trace, score, plan, cut, verify and compensate.

    A group whose removal fails verification is left whole, and the budget is met by the others.

    Args:
        model: the dense model; it is not changed.
        data: see `secateurs.data.batches`, or `random_inputs`.
        criterion: a name from `secateurs list`, or a criterion.
        budget: see `allocate`.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments; by default the first sample of the data.
        seed: for criteria that draw random numbers.
        loss: for criteria that need gradients; see `score_many`.
        aggregate: how the scores of a unit that lies in several layers become one; see `score_many`.
        compensate: let the units that stay take over what the removed ones did, as far as they can predict it; see
            `compensate`. It takes a second pass over the data.
        keep: names or patterns of modules whose units stay; see `trace`.
        kinds: which kinds of units may go; see `trace`.
        limits: bounds for each group.
        scope: "global" or "local"; by default global if the criterion's scores compare across groups.
        progress: wraps the iteration over the data.

    Returns:
        The pruned model and the evidence.

    Raises:
        SecateursError: of the kind that `trace`, `score`, `allocate` or `apply` raise.
    """
    chosen = find(criterion)
    if not isinstance(seed, int) or seed < 0:
        raise UsageError(f"the seed must be an integer ≥ 0, not {seed!r}")
    with rng(seed):
        if example_inputs is None:
            # Two samples show which dimension holds the samples; costs are those of one.
            batch = first_batch(data)
            examples, one = batch.sample(2), batch.sample(1)
            structure = trace(model, examples, keep, kinds).per_sample()
        else:
            examples = one = example_inputs
            structure = trace(model, examples, keep, kinds)
        if isinstance(data, Iterator) and compensate and chosen.needs_data:
            raise DataError(
                "the data is an iterator, which can be read only once, but scoring and compensation each read it; give "
                "a list or a DataLoader, or compensate=False"
            )
        scores = score(model, data, chosen, structure, loss, aggregate=aggregate, seed=seed, progress=progress)
        scope = scope or ("global" if chosen.comparable else "local")
        while True:
            candidates = {name: its for name, its in scores.items() if name in structure.groups}
            plan = allocate(structure, candidates, budget, limits, scope)
            cut = operate(model, plan, examples, structure)
            if not cut.put_back:
                break
            structure = structure.freeze(cut.put_back)
        compensation = None
        if compensate:
            compensation = take_over(cut.model, model, plan, data, structure, progress=progress)
    return Result(
        model=cut.model,
        plan=plan,
        scores=scores,
        cost=cost(cut.model, one),
        dense_cost=plan.dense,
        criterion=chosen.name,
        structure=structure,
        inexact=cut.inexact,
        attributes=cut.attributes,
        compensation=compensation,
    )
