"""`GradualPruner`: cuts a model while it trains; `gradual` makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.budgets import Plan, Ramp, allocate, resolve_limits
from secateurs.criteria import score
from secateurs.data import Loss, check_ranks_agree, first_batch
from secateurs.errors import PlanError, UsageError, VerificationError
from secateurs.persist import save
from secateurs.pruning.config import PruningConfig
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


class CutRecord(NamedTuple):
    """A cut: the number of the training step before it, and the units of the dense model that are left after it."""

    step: int
    plan: Plan


class GradualPruner:
    """Cuts a model several times while it trains; made by `gradual`.

    Attributes:
        steps: the number of calls of `step`.
        history: the cuts so far.
        attributes: module name → the attributes that differ from those of the dense model.
        put_back: group name → the reason, for each group that failed verification; it is not cut again.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        ramp: Ramp,
        data: Any,
        config: PruningConfig,
        loss: Loss | None = None,
    ):
        self.steps = 0
        self.history: list[CutRecord] = []
        self.attributes: Attributes = {}
        self.put_back: Mapping[str, str] = {}
        self._model, self._optimizer, self._ramp = model, optimizer, ramp
        self._data, self._config, self._loss = data, config, loss
        self._examples = first_batch(data).sample(2)
        self._limits = resolve_limits(config.limits, model)
        self._check()
        self._dense = self._traced().per_sample()
        self._allowed_widths = supported_widths(model, self._dense) if self._limits.uniform else None
        # Scores and budgets that are impossible raise an error now, not after hours of training.
        allocate(
            self._dense,
            self._scored(self._dense),
            ramp.budget,
            self._limits,
            config.unit_scope,
            allowed_widths=self._allowed_widths,
        )

    @property
    def plan(self) -> Plan | None:
        """The units of the dense model that are left; None before the first cut."""
        return self.history[-1].plan if self.history else None

    @property
    def finished(self) -> bool:
        """Whether the last cut was made."""
        return self.steps >= self._ramp.stop

    def step(self) -> Plan | None:
        """Count one step of training, and cut the model if a cut is due; call it after the optimiser's step.

        Returns:
            The units of the dense model that are left, if there was a cut; otherwise None.

        Raises:
            SecateursError: of the kind that `score`, `allocate` or `apply_` raise. The model is unchanged, and the step
                is not counted.
        """
        step = self.steps + 1
        if self._ramp.due(step):
            self._cut(step)
        self.steps = step
        return self.plan if self._ramp.due(step) else None

    def _cut(self, step: int) -> None:
        """Score, plan and cut to the budget that the ramp gives for this step."""
        self._check()
        with rng():
            structure = self._traced() if self.history else self._dense
            result = prune_step(
                self._model,
                structure,
                self._scored(structure),
                self._ramp.at(step),
                self._examples,
                dense=self._dense,
                earlier=self.plan,
                put_back=self.put_back,
                limits=self._limits,
                scope=self._config.unit_scope,
                allowed_widths=self._allowed_widths,
            )
            check_ranks_agree(self._data, result.plan.model_dump_json(), "plan")
            self._cut_in_place(result.cut, structure)
        self.put_back = result.put_back
        self.history.append(CutRecord(step, result.plan))

    def _scored(self, structure: Structure) -> dict[str, Tensor]:
        """Score the current model on the cached data."""
        config = self._config
        with rng(config.seed):
            return score(
                self._model,
                self._data,
                config.criterion,
                structure,
                self._loss,
                aggregate=config.aggregate,
                seed=config.seed,
            )

    def _check(self) -> None:
        check_unwrapped(self._model)
        check_optimizer(self._optimizer, self._model)

    def _cut_in_place(self, cut: Cut, structure: Structure) -> None:
        """Transfer a cut to the model that is being trained, and to the optimiser."""
        put_in_place(self._model, cut, self._examples, structure, self._optimizer)
        self.attributes = merge_attributes(self.attributes, cut.attributes)

    def _traced(self) -> Structure:
        return trace(self._model, self._examples, self._config.keep, self._config.kinds)

    def state_dict(self) -> dict[str, Any]:
        """The steps and cuts so far, as plain data for JSON. Weights and the optimiser's state are not included."""
        cuts = [{"step": step, "plan": plan.model_dump(mode="json")} for step, plan in self.history]
        return {"steps": self.steps, "history": cuts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state: cut the dense model and the optimiser to the saved widths.

        Load the weights and the optimiser's state afterwards.

        Args:
            state: the result of `state_dict` of a pruner of the same dense model.

        Raises:
            UsageError: this pruner has made steps already, or the state is invalid.
            PlanError: the state belongs to another model.
            VerificationError: a group of the saved cuts cannot be cut in this model.
        """
        if self.steps:
            raise UsageError(
                f"a state can be loaded only before the first step, but this pruner has made {self.steps}: make a new "
                "pruner of the dense model"
            )
        try:
            steps = int(state["steps"])
            history = [CutRecord(c["step"], Plan.model_validate_json(json.dumps(c["plan"]))) for c in state["history"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is not the state of a GradualPruner: {type(error).__name__}: {error}") from error
        if history:
            plan = history[-1].plan
            with rng():
                cut = apply_and_report(self._model, plan, self._examples, self._dense)
                if cut.put_back:
                    raise VerificationError(
                        f"groups that the saved state cuts cannot be cut in this model: {cut.put_back}"
                    )
                self._cut_in_place(cut, self._dense)
            self.put_back = {n: reason for n, reason in plan.frozen.items() if n in self._dense.groups}
        self.steps, self.history = steps, history

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the model with its current weights, and the plan, to a new directory; see `secateurs.load`.

        Raises:
            PlanError: there was no cut yet.
            PersistError: the directory exists already or cannot be written.
        """
        if self.plan is None:
            raise PlanError("nothing was cut yet, so there is no pruned model to save")
        save(directory, self._model, self.plan, self.attributes, self._config.criterion.name, overwrite)
