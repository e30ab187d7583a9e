"""`Result`: the result of `prune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.data import Call
from secateurs.persist import save, save_pretrained
from secateurs.pruning.state import Round
from secateurs.structure import Cost, Structure
from secateurs.surgery import Attributes, Compensation


@dataclass(frozen=True)
class Result:
    """A pruned model, with the plan, the scores and the measurements that explain it; `str` renders a table.

    Attributes:
        model: the pruned model; it can be trained in place.
        plan: the units that were kept and removed.
        scores: group name → the scores of the last round, for the units that were left before it.
        cost: the cost of the pruned model on the example inputs.
        dense_cost: the cost of the dense model on the example inputs.
        criterion: the name of the criterion.
        structure: the groups of the dense model; `structure.frozen` lists what was not pruned, with the reason.
        inexact: group name → the reason, for each pruned group whose removal changes the values of remaining units.
        attributes: module name → the attributes that were changed.
        compensation: the compensation after the last round; None if it was switched off.
        rounds: the cost, the widths and the measured figures after each round.
        examples: the inputs on which the model was traced.

    Example:
        >>> result = sc.prune(model, data, "l2", "keep:0.5")
        >>> result.plan.widths
        {'0': 6, '3': 4, '7': 8}
        >>> result.save("smaller")
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
    rounds: Sequence[Round]
    examples: Call

    @property
    def measured(self) -> Mapping[str, Mapping[str, float]]:
        """Stage ("cut", "recalibrated", "recovered") → the figures measured after it, in the last round."""
        return self.rounds[-1].measured

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model with its current weights, and the plan, to a new directory; see `secateurs.load`.

        Args:
            directory: the directory to create.
            overwrite: replace an existing saved model.

        Raises:
            PersistError: the directory exists already or cannot be written.
        """
        save(directory, self.model, self.plan, self.attributes, self.criterion, overwrite)

    def save_pretrained(self, directory: str | Path, tokenizer: Any = None) -> None:
        """Write the model with its current weights to a new directory that `from_pretrained` of its class can load.

        The generation configuration and the plan are written too. Before the directory gets its final name, the model
        is loaded from it, and weights and outputs are compared; this needs memory for a second copy of the model.

        Args:
            directory: the directory to create.
            tokenizer: a tokenizer or processor to save beside the model.

        Raises:
            PersistError: the configuration class cannot describe the remaining widths (the message names them and the
                fix; `save` has no such restriction), or the directory exists or cannot be written.
            UsageError: the tokenizer cannot be saved.
        """
        save_pretrained(directory, self.model, self.plan, self.structure, self.examples, tokenizer)

    def __str__(self) -> str:
        return f"{self.plan}{self.criterion}: {self.dense_cost} → {self.cost}\n"
