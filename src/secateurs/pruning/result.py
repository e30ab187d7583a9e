"""`Result`: a pruned model with the evidence for what was done."""

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
    """A pruned model with the evidence for what was done.

    Attributes:
        model: the pruned model; train it in place as you like.
        plan: what was removed.
        scores: the scores that decided, per group; with several rounds those of the last, of the units that were there.
        cost: of the pruned model, on the example inputs.
        dense_cost: of the dense model.
        criterion: the name of the criterion.
        structure: groups of the dense model; `structure.frozen` says what was left alone and why.
        inexact: pruned groups whose removal changes what the remaining units compute, and why.
        attributes: attributes of modules that were changed, per module name.
        compensation: what the units that stay took over (after the last round), if that was asked for.
        rounds: what each round left, and what was measured then.
        examples: the inputs that the model was traced on.
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
        """What was measured at each stage after the last cut: "cut", "recalibrated", "recovered"."""
        return self.rounds[-1].measured

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model as it is now, with its plan, to a new directory; see `secateurs.load`.

        Raises:
            PersistError: the directory exists already or cannot be written.
        """
        save(directory, self.model, self.plan, self.attributes, self.criterion, overwrite)

    def save_pretrained(self, directory: str | Path, tokenizer: Any = None) -> None:
        """Write the model as it is now to a new directory that plain `from_pretrained` of its class loads.

        Its generation configuration and the plan go along. The model is loaded from there and compared, in weights and
        outputs, before the directory gets its name; there must be memory for two.

        Args:
            directory: where to.
            tokenizer: or processor, to be saved beside the model.

        Raises:
            PersistError: the class cannot express the widths that are left (the message says which, and what to do;
                `save` always can), or the directory exists or cannot be written.
            UsageError: the tokenizer cannot be saved.
        """
        save_pretrained(directory, self.model, self.plan, self.structure, self.examples, tokenizer)

    def __str__(self) -> str:
        return f"{self.plan}{self.criterion}: {self.dense_cost} → {self.cost}\n"
