"""The stages of a pruning run: rounds of scoring and cutting, compensation, recovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.budgets import Budget
from secateurs.criteria import progress_text, requested_statistics, score
from secateurs.data import check_ranks_agree
from secateurs.observe import Observations, observe
from secateurs.pruning.gradual import prune_during_training
from secateurs.pruning.procedure import Procedure
from secateurs.pruning.state import Round, State
from secateurs.pruning.step import prune_step
from secateurs.structure import Structure, cost
from secateurs.surgery import compensate, compensation_statistics, merge_attributes
from secateurs.training import Fit, Recovery, randomness, recalibrate, recover, tracking_norms

Stage = Callable[[State, Path | None], State]
"""Maps a state to the next one; the path is a directory for intermediate files of a long stage, or None."""


def stages_of(procedure: Procedure) -> dict[str, Stage]:
    """Name → stage, in the order in which they run."""
    config = procedure.config
    if config.schedule.during_training:
        return {"training": partial(_training, procedure)}
    budgets = config.schedule.budgets(config.budget)
    stages: dict[str, Stage] = {}
    for number, budget in enumerate(budgets, 1):
        stages[f"round-{number}"] = partial(_round, procedure, budget)
        if config.between is not None and number < len(budgets):
            stages |= _recovery_stages(procedure, config.between, f"-{number}")
    if config.compensate and config.between is None:
        stages["compensation"] = partial(_compensation, procedure)
    return stages | _recovery_stages(procedure, config.recovery, "")


def advance(procedure: Procedure, stage: str, state: State, directory: Path | None = None) -> State:
    """Run one stage. The random numbers depend on the seed only, not on earlier stages.

    Args:
        procedure: the configuration, the model and the data.
        stage: the name of the stage.
        state: the result of the previous stage.
        directory: for intermediate files of a long stage, such as checkpoints of training.

    Returns:
        The state after the stage.
    """
    with randomness(procedure.config.seed, 0, procedure.data, procedure.training, procedure.validation):
        return stages_of(procedure)[stage](state, directory)


def _round(procedure: Procedure, budget: Budget, state: State, _: Path | None) -> State:
    """Score, plan and cut; compensate at once if training follows each round."""
    config = procedure.config
    structure = procedure.structure if state.plan is None else procedure.traced(state.model)
    observed = _observed(procedure, state, structure)
    scores = score(
        state.model,
        procedure.data,
        config.criterion,
        structure,
        procedure.loss if config.criterion.needs_loss else None,
        aggregate=config.aggregate,
        seed=config.seed,
        observed=observed,
        progress=procedure.progress,
    )
    step = prune_step(
        state.model,
        structure,
        scores,
        budget,
        procedure.examples,
        dense=procedure.structure,
        earlier=state.plan,
        put_back=state.put_back,
        limits=procedure.limits,
        scope=config.unit_scope,
        allowed_widths=procedure.allowed_widths,
    )
    check_ranks_agree(procedure.data, step.plan.model_dump_json(), "plan")
    cut, compensation = step.cut, None
    if config.compensate and config.between is not None:
        compensation = compensate(
            cut.model, state.model, cut.plan, procedure.data, structure, observed=observed, progress=procedure.progress
        )
    after = replace(
        state,
        model=cut.model,
        plan=step.plan,
        attributes=merge_attributes(state.attributes, cut.attributes),
        scores=scores,
        compensation=compensation,
        rounds=(*state.rounds, Round(cost(cut.model, procedure.costed), step.plan.widths, {})),
        put_back=step.put_back,
        observed=observed if state.plan is None and config.between is None else state.observed,
    )
    return after.measured(procedure.measure, "cut")


def _observed(procedure: Procedure, state: State, structure: Structure) -> Observations:
    """Collect the statistics of the criterion and of compensation in one pass, if both need them on this model."""
    config = procedure.config
    requested = requested_statistics(config.criterion.leaves, structure)
    if not requested or not config.compensate or (config.between is None and state.plan is not None):
        return {}
    moments = compensation_statistics(structure)
    both = {tap: (*requested.get(tap, ()), *moments.get(tap, ())) for tap in {**requested, **moments}}
    return observe(state.model, procedure.data, both, procedure.progress, progress_text(both))


def _compensation(procedure: Procedure, state: State, _: Path | None) -> State:
    """Compensate for all rounds at once, which is possible since no weight was trained between them."""
    assert state.plan is not None, "there is at least one round"
    compensation = compensate(
        state.model,
        procedure.dense,
        state.plan,
        procedure.data,
        procedure.structure,
        observed=state.observed,
        progress=procedure.progress,
    )
    return replace(state, compensation=compensation, observed={}).measured(procedure.measure, "cut")


def _recovery_stages(procedure: Procedure, recipe: Recovery | Fit | None, suffix: str) -> dict[str, Stage]:
    """Recalibration and training, as far as the recipe and the model need them."""
    stages: dict[str, Stage] = {}
    recalibrates = recipe is not None if procedure.config.recalibrate is None else procedure.config.recalibrate
    if recalibrates and tracking_norms(procedure.dense):
        stages[f"recalibration{suffix}"] = partial(_recalibration, procedure)
    if recipe is not None:
        stages[f"recovery{suffix}"] = partial(_recovery, procedure, recipe)
    return stages


def _recalibration(procedure: Procedure, state: State, _: Path | None) -> State:
    """Recalibrate the running statistics of normalisation layers."""
    recalibrate(
        state.model,
        procedure.training,
        procedure.dense,
        state.plan,
        structure=procedure.structure,
        progress=procedure.progress,
    )
    return state.measured(procedure.measure, "recalibrated")


def _recovery(procedure: Procedure, recipe: Recovery | Fit, state: State, directory: Path | None) -> State:
    _train(procedure, state.model, recipe, directory)
    return state.measured(procedure.measure, "recovered")


def _training(procedure: Procedure, _: State, directory: Path | None) -> State:
    """Train a copy of the dense model, and cut it during the training."""
    assert isinstance(procedure.config.recovery, Recovery), "PruningConfig checks this"
    config = procedure.config.replace(limits=procedure.limits)
    loss = procedure.loss if config.criterion.needs_loss else None
    train = partial(_train, procedure, recipe=procedure.config.recovery, directory=directory)
    state = prune_during_training(procedure.dense, procedure.data, config, procedure.training, loss, train)
    return state.measured(procedure.measure, "recovered")


def _train(
    procedure: Procedure, model: nn.Module, recipe: Recovery | Fit, directory: Path | None, **options: Any
) -> None:
    """Train a model in place."""
    recover(
        model,
        recipe,
        procedure.training,
        teacher=procedure.dense if isinstance(recipe, Recovery) and recipe.distill_weight else None,
        validation=procedure.validation,
        loss=procedure.loss,
        seed=procedure.config.seed,
        directory=directory,
        progress=procedure.progress,
        **options,
    )
