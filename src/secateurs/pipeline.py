"""`prune`: the whole way through the house in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from secateurs.budgets import Limits, allocate
from secateurs.costs import Cost, cost
from secateurs.criteria import Criterion, find, score
from secateurs.data import first_batch
from secateurs.errors import UsageError
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
    criterion: str | Criterion = "nexp",
    budget: str = "macs:0.5",
    example_inputs: Any = None,
    seed: int = 0,
    *,
    keep: Sequence[str] = (),
    kinds: Sequence[str] | str | None = None,
    limits: Limits | None = None,
    scope: str | None = None,
    progress: Progress = silent,
) -> Result:
    """Trace, score, plan, cut and verify.

    A group whose removal fails verification is left whole, and the budget is met by the others.

    Args:
        model: the dense model; it is not changed.
        data: see `secateurs.data.batches`, or `random_inputs`.
        criterion: a name from `secateurs list`, or a criterion.
        budget: see `allocate`.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments; by default the first sample of the data.
        seed: for criteria that draw random numbers.
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
        scores = score(model, data, chosen, structure, seed=seed, progress=progress)
        scope = scope or ("global" if chosen.comparable else "local")
        while True:
            candidates = {name: its for name, its in scores.items() if name in structure.groups}
            plan = allocate(structure, candidates, budget, limits, scope)
            cut = operate(model, plan, examples, structure)
            if not cut.put_back:
                break
            structure = structure.freeze(cut.put_back)
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
    )
