"""What becomes of a model, stage by stage: rounds of scoring and cutting, compensation, recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateurs.budgets import Limits, allocate
from secateurs.compensate import Compensation, compensate
from secateurs.costs import Cost, cost
from secateurs.criteria import AnyCriterion, score
from secateurs.errors import UsageError
from secateurs.losses import Loss
from secateurs.plan import Plan
from secateurs.preserve import rng
from secateurs.progress import Progress
from secateurs.recover import Fit, Recovery, randomness, recalibrate, recover
from secateurs.schedule import Schedule
from secateurs.structure import Structure, trace
from secateurs.surgery import Attributes, operate
from secateurs.together import agree

Measure = Callable[[nn.Module], Mapping[str, float]]
"""Measures a model: figures by name, such as {"accuracy": 0.97, "loss": 0.1}."""


@dataclass(frozen=True)
class Round:
    """The model after one round.

    Attributes:
        cost: of the model.
        widths: units left, per group.
        measured: per stage ("cut", "recalibrated", "recovered"), figures by name.
    """

    cost: Cost
    widths: Mapping[str, int]
    measured: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class State:
    """Where a procedure is.

    Attributes:
        model: as it is now; but for the dense one it belongs to the state, and the next stage may change it.
        plan: what was removed of the dense model so far; None before the first round.
        attributes: attributes of modules that differ from the dense model's, per module name.
        scores: those of the latest round, of the units that were there.
        compensation: what the units that stayed took over last.
        rounds: what each round left.
        put_back: groups whose removal failed verification, and how; they are not tried again.
    """

    model: nn.Module
    plan: Plan | None = None
    attributes: Attributes = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    compensation: Compensation | None = None
    rounds: tuple[Round, ...] = ()
    put_back: Mapping[str, str] = field(default_factory=dict)


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
    limits: Limits | None
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

    def _traced(self, model: nn.Module) -> Structure:
        structure = trace(model, self.examples, self.keep, self.kinds)
        return structure.per_sample() if self.per_sample else structure

    def _round(self, budget: str, state: State, _: Path | None) -> State:
        """Score, plan and cut; where the model is trained next, let the units that stay take over first."""
        structure = self.structure if state.plan is None else self._traced(state.model)
        loss = self.loss if self.criterion.needs_loss else None
        how: dict[str, Any] = {"aggregate": self.aggregate, "seed": self.seed, "progress": self.progress}
        scores = score(state.model, self.data, self.criterion, structure, loss, **how)
        put_back = dict(state.put_back)
        while True:
            candidates = {n: its for n, its in scores.items() if n in self.structure.groups and n not in put_back}
            left = None if state.plan is None else state.plan.keep
            plan = allocate(self.structure, candidates, budget, self.limits, self.scope, left)
            agree(self.data, plan.model_dump_json(), "plan")
            step = plan if state.plan is None else plan.since(state.plan)
            cut = operate(state.model, step, self.examples, structure)
            if not cut.put_back:
                break
            put_back |= cut.put_back
        taken_over = None
        if self.compensate and self.between is not None:
            taken_over = compensate(cut.model, state.model, step, self.data, structure, progress=self.progress)
        after = replace(
            state,
            model=cut.model,
            plan=plan.model_copy(update={"frozen": {**plan.frozen, **put_back}}),
            attributes=_merged(state.attributes, cut.attributes),
            scores=scores,
            compensation=taken_over,
            rounds=(*state.rounds, Round(cost(cut.model, self.costed), plan.widths, {})),
            put_back=put_back,
        )
        return self._measured(after, "cut")

    def _compensation(self, state: State, _: Path | None) -> State:
        """After all rounds at once, since no weight was changed since the dense model."""
        assert state.plan is not None, "there is at least one round"
        its = compensate(state.model, self.dense, state.plan, self.data, self.structure, progress=self.progress)
        return self._measured(replace(state, compensation=its), "cut")

    def _recovering(self, how: Recovery | Fit, suffix: str) -> dict[str, Stage]:
        stages: dict[str, Stage] = {}
        if any(isinstance(its, _BatchNorm) and its.track_running_stats for its in self.dense.modules()):
            stages[f"recalibration{suffix}"] = self._recalibration
        if not isinstance(how, Recovery) or how.epochs:
            stages[f"recovery{suffix}"] = partial(self._recovery, how)
        return stages

    def _recalibration(self, state: State, _: Path | None) -> State:
        recalibrate(state.model, self.training, self.progress)
        return self._measured(state, "recalibrated")

    def _recovery(self, how: Recovery | Fit, state: State, directory: Path | None) -> State:
        recover(
            state.model,
            how,
            self.training,
            teacher=self.dense if isinstance(how, Recovery) and how.distill else None,
            validation=self.validation,
            loss=self.loss,
            seed=self.seed,
            directory=directory,
            progress=self.progress,
        )
        return self._measured(state, "recovered")

    def _measured(self, state: State, stage: str) -> State:
        """With the figures of the model at this stage of its latest round."""
        if self.measure is None:
            return state
        with rng():
            figures = self.measure(state.model)
        if not isinstance(figures, Mapping) or not all(isinstance(its, (int, float)) for its in figures.values()):
            raise UsageError(f'measure must return figures by name, such as {{"accuracy": 0.97}}, not {figures!r}')
        *before, latest = state.rounds
        latest = replace(latest, measured={**latest.measured, stage: {n: float(its) for n, its in figures.items()}})
        return replace(state, rounds=(*before, latest))


def _merged(before: Attributes, changes: Attributes) -> Attributes:
    return {name: {**before.get(name, {}), **changes.get(name, {})} for name in [*before, *changes]}
