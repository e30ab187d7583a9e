"""What becomes of a model, stage by stage: rounds of scoring and cutting, compensation, recovery."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateurs.budgets import AllowedWidths, Limits, Schedule
from secateurs.criteria import AnyCriterion, progress_text, requested_statistics, score
from secateurs.data import Loss, check_ranks_agree
from secateurs.errors import UsageError
from secateurs.observe import Observations, observe
from secateurs.pruning.gradual import GradualPruner, gradual
from secateurs.pruning.state import Measure, Round, State
from secateurs.pruning.step import prune_step
from secateurs.structure import Structure, cost, trace
from secateurs.surgery import compensate, compensation_statistics, merge_attributes, supported_widths
from secateurs.training import Fit, Recovery, randomness, recalibrate, recover, tracking_norms
from secateurs.utils import Progress

Stage = Callable[[State, Path | None], State]
"""From one state to the next; the path is a directory for what a long stage keeps while it is under way."""


@dataclass(frozen=True)
class Procedure:
    """Everything that decides what becomes of a model; see `secateurs.prune` for what each part is.

    Attributes:
        examples: inputs to trace on.
        costed: those whose cost counts; with `per_sample`, one sample of the examples.
    """

    dense: nn.Module
    data: Iterable[Any]
    criterion: AnyCriterion
    budget: str
    examples: Any
    costed: Any
    per_sample: bool
    seed: int
    loss: Loss | None
    aggregate: str
    compensate: bool
    keep: Sequence[str]
    kinds: Sequence[str] | str | None
    limits: Limits
    scope: str
    schedule: Schedule
    between: Recovery | Fit | None
    recovery: Recovery | Fit | None
    training: Iterable[Any]
    validation: Iterable[Any] | None
    measure: Measure | None
    progress: Progress

    @property
    def stages(self) -> dict[str, Stage]:
        """What is done, by name, in order."""
        budgets = self.schedule.budgets(self.budget)
        if self.schedule.during_training:
            return {"training": self._training}
        stages: dict[str, Stage] = {}
        for number, budget in enumerate(budgets, 1):
            stages[f"round-{number}"] = partial(self._round, budget)
            if self.between is not None and number < len(budgets):
                stages |= self._recovering(self.between, f"-{number}")
        if self.compensate and self.between is None:
            stages["compensation"] = self._compensation
        return stages | (self._recovering(self.recovery, "") if self.recovery is not None else {})

    def advance(self, stage: str, state: State, directory: Path | None = None) -> State:
        """Do one stage; whatever is random in it follows from the seed, and not from the stages before.

        Args:
            stage: its name.
            state: that the stage before left.
            directory: for what a long stage keeps while it is under way.
        """
        with randomness(self.seed, 0, self.data, self.training, self.validation):
            return self.stages[stage](state, directory)

    @cached_property
    def structure(self) -> Structure:
        """Of the dense model."""
        return self._traced(self.dense)

    @cached_property
    def _takes(self) -> AllowedWidths | None:
        """Which widths the model's class takes, where they are uniform, so that its configuration can tell them."""
        return supported_widths(self.dense, self.structure) if self.limits.uniform else None

    def _traced(self, model: nn.Module) -> Structure:
        structure = trace(model, self.examples, self.keep, self.kinds)
        return structure.per_sample() if self.per_sample else structure

    def _round(self, budget: str, state: State, _: Path | None) -> State:
        """Score, plan and cut; where the model is trained next, let the units that stay take over first."""
        structure = self.structure if state.plan is None else self._traced(state.model)
        loss = self.loss if self.criterion.needs_loss else None
        observed = self._observed(state, structure)
        scores = score(
            state.model,
            self.data,
            self.criterion,
            structure,
            loss,
            aggregate=self.aggregate,
            seed=self.seed,
            observed=observed,
            progress=self.progress,
        )
        further = prune_step(
            state.model,
            structure,
            scores,
            budget,
            self.examples,
            dense=self.structure,
            earlier=state.plan,
            put_back=state.put_back,
            limits=self.limits,
            scope=self.scope,
            takes=self._takes,
        )
        check_ranks_agree(self.data, further.plan.model_dump_json(), "plan")
        plan, cut = further.plan, further.cut
        taken_over = None
        if self.compensate and self.between is not None:
            taken_over = compensate(
                cut.model, state.model, cut.plan, self.data, structure, observed=observed, progress=self.progress
            )
        after = replace(
            state,
            model=cut.model,
            plan=plan,
            attributes=merge_attributes(state.attributes, cut.attributes),
            scores=scores,
            compensation=taken_over,
            rounds=(*state.rounds, Round(cost(cut.model, self.costed), plan.widths, {})),
            put_back=further.put_back,
            observed=observed if state.plan is None and self.between is None else state.observed,
        )
        return after.measured(self.measure, "cut")

    def _observed(self, state: State, structure: Structure) -> Observations:
        """In one pass, what the criterion looks at and what compensation needs of the same model."""
        wanted = requested_statistics(self.criterion.leaves, structure)
        if not wanted or not self.compensate or (self.between is None and state.plan is not None):
            return {}
        moments = compensation_statistics(structure)
        both = {tap: (*wanted.get(tap, ()), *moments.get(tap, ())) for tap in {**wanted, **moments}}
        return observe(state.model, self.data, both, self.progress, progress_text(both))

    def _compensation(self, state: State, _: Path | None) -> State:
        """After all rounds at once, since no weight was changed since the dense model."""
        assert state.plan is not None, "there is at least one round"
        how: dict[str, Any] = {"observed": state.observed, "progress": self.progress}
        its = compensate(state.model, self.dense, state.plan, self.data, self.structure, **how)
        return replace(state, compensation=its, observed={}).measured(self.measure, "cut")

    def _recovering(self, how: Recovery | Fit, suffix: str) -> dict[str, Stage]:
        stages: dict[str, Stage] = {}
        if tracking_norms(self.dense):
            stages[f"recalibration{suffix}"] = self._recalibration
        if not isinstance(how, Recovery) or how.epochs:
            stages[f"recovery{suffix}"] = partial(self._recovery, how)
        return stages

    def _recalibration(self, state: State, _: Path | None) -> State:
        how: dict[str, Any] = {"structure": self.structure, "progress": self.progress}
        recalibrate(state.model, self.training, self.dense, state.plan, **how)
        return state.measured(self.measure, "recalibrated")

    def _recovery(self, how: Recovery | Fit, state: State, directory: Path | None) -> State:
        self._fit(state.model, how, directory)
        return state.measured(self.measure, "recovered")

    def _fit(self, model: nn.Module, how: Recovery | Fit, directory: Path | None, **options: Any) -> None:
        """Train in place."""
        recover(
            model,
            how,
            self.training,
            teacher=self.dense if isinstance(how, Recovery) and how.distill_weight else None,
            validation=self.validation,
            loss=self.loss,
            seed=self.seed,
            directory=directory,
            progress=self.progress,
            **options,
        )

    def _training(self, state: State, directory: Path | None) -> State:
        """Train a copy of the dense model, and cut it meanwhile."""
        model, pruners = copy.deepcopy(self.dense), []

        def make(model: nn.Module, optimizer: Optimizer) -> GradualPruner:
            every = self._steps() // (2 * self.schedule.rounds) or 1
            pruners.append(
                gradual(
                    model,
                    optimizer,
                    self.data,
                    self.criterion,
                    self.budget,
                    stop=every * self.schedule.rounds,
                    every=every,
                    ramp=self.schedule.ramp,
                    loss=self.loss if self.criterion.needs_loss else None,
                    aggregate=self.aggregate,
                    keep=self.keep,
                    kinds=self.kinds,
                    limits=self.limits,
                    scope=self.scope,
                    seed=self.seed,
                )
            )
            return pruners[0]

        assert isinstance(self.recovery, Recovery), "prune() sees to that"
        self._fit(model, self.recovery, directory, pruner=make)
        (pruner,) = pruners
        after = State(
            model=model,
            plan=pruner.plan,
            attributes=pruner.attributes,
            rounds=tuple(Round(its.plan.pruned, its.plan.widths, {}) for its in pruner.history),
            put_back=pruner.left_alone,
        )
        return after.measured(self.measure, "recovered")

    def _steps(self) -> int:
        """Of the optimiser, in all of the recovery's training."""
        assert isinstance(self.recovery, Recovery), "prune() sees to that"
        if not isinstance(self.training, Sized):
            raise UsageError("to cut a model while it trains, give training data with a length, such as a DataLoader")
        steps = self.recovery.epochs * -(-len(self.training) // self.recovery.grad_accumulation)
        if steps < self.schedule.rounds:
            raise UsageError(f"{self.schedule.rounds} rounds do not fit into {steps} steps of training")
        return steps
