"""The pruner that cuts a model while it trains; `gradual` makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.budgets import Limits, Plan, Ramp, allocate
from secateurs.criteria import AnyCriterion, score
from secateurs.data import Call, Loss, check_ranks_agree
from secateurs.errors import PlanError, UsageError, VerificationError
from secateurs.persist import save
from secateurs.pruning.step import prune_step
from secateurs.structure import Structure, trace
from secateurs.surgery import (
    Attributes,
    Cut,
    apply_and_report,
    check_optimizer,
    check_unwrapped,
    merge_attributes,
    put_in_place,
    supported_widths,
)
from secateurs.utils import rng


class Reached(NamedTuple):
    """A cut: the step that it followed, and what is left of the dense model since."""

    step: int
    plan: Plan


@dataclass(frozen=True)
class Terms:
    """By what is decided which units go; see `gradual`."""

    data: Any
    examples: Call
    criterion: AnyCriterion
    loss: Loss | None
    aggregate: str
    seed: int
    keep: Sequence[str]
    kinds: Sequence[str] | str | None
    limits: Limits
    scope: str


class GradualPruner:
    """Cuts a model, a little at a time, while it trains; made by `gradual`.

    Attributes:
        steps: how often `step` was called.
        history: the cuts that were made.
        attributes: attributes of modules that differ from the dense model's, per module name.
        left_alone: groups that failed verification, and how; they are cut no further.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, ramp: Ramp, terms: Terms):
        self.steps = 0
        self.history: list[Reached] = []
        self.attributes: Attributes = {}
        self.left_alone: Mapping[str, str] = {}
        self._model, self._optimizer, self._ramp, self._terms = model, optimizer, ramp, terms
        self._check()
        self._dense = self._traced().per_sample()
        # What cannot be scored, or reached, is said now and not after hours of training.
        self._takes = supported_widths(model, self._dense) if terms.limits.uniform else None
        allocate(self._dense, self._scored(self._dense), ramp.budget, terms.limits, terms.scope, takes=self._takes)

    @property
    def plan(self) -> Plan | None:
        """What is left of the dense model; None before the first cut."""
        return self.history[-1].plan if self.history else None

    @property
    def finished(self) -> bool:
        """Whether the last cut was made."""
        return self.steps >= self._ramp.stop

    def step(self) -> Plan | None:
        """Count one step of training, and cut if that is due; call it after the optimiser's step.

        Returns:
            What is left of the dense model if there was a cut, else None.

        Raises:
            SecateursError: of the kind that `score`, `allocate` or `apply_` raise. Nothing was changed, or counted.
        """
        step = self.steps + 1
        if self._ramp.due(step):
            self._cut(step)
        self.steps = step
        return self.plan if self._ramp.due(step) else None

    def _cut(self, step: int) -> None:
        """Score, plan and cut to what may be left after this step."""
        self._check()
        its = self._terms
        with rng():
            structure = self._traced() if self.history else self._dense
            further = prune_step(
                self._model, structure, self._scored(structure), self._ramp.at(step), its.examples,
                dense=self._dense, earlier=self.plan, put_back=self.left_alone, limits=its.limits, scope=its.scope,
                takes=self._takes,
            )  # fmt: skip
            check_ranks_agree(its.data, further.plan.model_dump_json(), "plan")
            self._take(further.cut, structure)
        self.left_alone = further.put_back
        self.history.append(Reached(step, further.plan))

    def _scored(self, structure: Structure) -> dict[str, Tensor]:
        its = self._terms
        with rng(its.seed):
            return score(
                self._model, its.data, its.criterion, structure, its.loss, aggregate=its.aggregate, seed=its.seed
            )

    def _check(self) -> None:
        check_unwrapped(self._model)
        check_optimizer(self._optimizer, self._model)

    def _take(self, cut: Cut, structure: Structure) -> None:
        put_in_place(self._model, cut, self._terms.examples, structure, self._optimizer)
        self.attributes = merge_attributes(self.attributes, cut.attributes)

    def _traced(self) -> Structure:
        return trace(self._model, self._terms.examples, self._terms.keep, self._terms.kinds)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs, as JSON can hold it. Weights and the optimiser's state are not in it."""
        cuts = [{"step": step, "plan": plan.model_dump(mode="json")} for step, plan in self.history]
        return {"steps": self.steps, "history": cuts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state: cut the dense model, and its optimiser, to what was left then.

        Load weights and the optimiser's state after this.

        Args:
            state: from `state_dict` of a pruner of the same dense model.

        Raises:
            UsageError: this pruner has begun already, or this is no such state.
            PlanError: the state is of another model.
            VerificationError: a group that was cut then cannot be cut now.
        """
        if self.steps:
            raise UsageError(f"load a state into a pruner of the dense model, not of one after {self.steps} steps")
        try:
            steps = int(state["steps"])
            history = [Reached(c["step"], Plan.model_validate_json(json.dumps(c["plan"]))) for c in state["history"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is not the state of a pruner: {type(error).__name__}: {error}") from error
        if history:
            plan = history[-1].plan
            with rng():
                cut = apply_and_report(self._model, plan, self._terms.examples, self._dense)
                if cut.put_back:
                    raise VerificationError(f"groups that were cut then cannot be cut now: {cut.put_back}")
                self._take(cut, self._dense)
            self.left_alone = {name: why for name, why in plan.frozen.items() if name in self._dense.groups}
        self.steps, self.history = steps, history

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model as it is now, with its plan, to a new directory; see `secateurs.load`.

        Raises:
            PlanError: nothing was cut yet.
            PersistError: the directory exists already or cannot be written.
        """
        if self.plan is None:
            raise PlanError("nothing was cut yet, so there is no pruned model to save")
        save(directory, self._model, self.plan, self.attributes, self._terms.criterion.name, overwrite)
