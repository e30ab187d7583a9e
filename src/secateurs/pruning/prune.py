"""`prune`: prune a model in one call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn
from typing_extensions import Unpack

from secateurs.budgets import Budget
from secateurs.criteria import Named
from secateurs.data import Loss, as_call
from secateurs.pruning.config import MoreOptions, PruningConfig, resolve_config
from secateurs.pruning.procedure import Procedure
from secateurs.pruning.result import Result
from secateurs.pruning.run import Run
from secateurs.pruning.stages import advance, stages_of
from secateurs.pruning.state import Measure, State
from secateurs.structure import cost
from secateurs.utils import Progress, silent


def prune(
    model: nn.Module,
    data: Iterable[Any],
    criterion: Named | None = None,
    budget: Budget | str | None = None,
    *,
    config: PruningConfig | None = None,
    example_inputs: Any = None,
    loss: Loss | None = None,
    training: Iterable[Any] | None = None,
    validation: Iterable[Any] | None = None,
    measure: Measure | None = None,
    directory: str | Path | Run | None = None,
    progress: Progress = silent,
    **options: Unpack[MoreOptions],
) -> Result:
    """Prune a model: trace, score, allocate, cut, verify, compensate and recover, in one or several rounds.

    A group whose removal fails verification stays whole, and the other groups meet the budget.

    Args:
        model: the dense model; it is not changed.
        data: batches for scoring and compensation, and by default also for training; see `secateurs.data.batches`, or
            `random_inputs`.
        criterion: the criterion that scores the units; by default that of `config`.
        budget: how much is kept, such as "macs:0.5"; by default that of `config`.
        config: all options of pruning and recovery; by default `PruningConfig()`.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments; by default the first samples of the data.
        loss: for criteria that need gradients, and for training; see `secateurs.data.loss_of`.
        training: labelled batches for recovery; by default the data.
        validation: labelled batches for early stopping; see `Recovery.patience`.
        measure: measures the model after every stage, for example `lambda m: {"accuracy": sc.accuracy(m, test)}`. The
            figures do not influence pruning.
        directory: stores every finished stage. If the process is killed, the same call continues after the last
            finished stage (or epoch of training) and ends with the same weights.
        progress: wraps the iteration over the data.
        **options: fields of `PruningConfig` that replace those of `config`: `scope="global", seed=1`.

    Returns:
        The pruned model, with the plan, the scores and the measurements.

    Raises:
        SecateursError: of the kind that `PruningConfig`, `trace`, `score`, `allocate`, `apply` and `finetune` raise.
        PersistError: the directory cannot be written, or contains another run.

    Example:
        >>> result = sc.prune(model, data, "l2", "macs:0.5")
        >>> result.cost.macs <= 0.5 * result.dense_cost.macs
        True
    """
    procedure = Procedure.of(
        model,
        data,
        resolve_config(config, criterion, budget, options),
        example_inputs,
        loss=loss,
        training=training,
        validation=validation,
        measure=measure,
        progress=progress,
    )
    procedure.check(in_directory=directory is not None)
    return _result(procedure, _run(procedure, directory))


def _run(procedure: Procedure, directory: str | Path | Run | None) -> State:
    """Run all stages in order; with a directory, only the stages that are not finished in it."""
    if directory is not None:
        run = directory if isinstance(directory, Run) else Run(directory)
        return run.execute(procedure)
    state = State(procedure.dense)
    for stage in stages_of(procedure):
        state = advance(procedure, stage, state)
    return state


def _result(procedure: Procedure, state: State) -> Result:
    """The result of the last stage."""
    assert state.plan is not None, "a schedule has at least one round"
    whole = procedure.structure.groups.keys() - state.plan.keep.keys()
    structure = procedure.structure.freeze({n: reason for n, reason in state.plan.frozen.items() if n in whole})
    pruned = [name for name, removed in state.plan.removed().items() if removed]
    return Result(
        model=state.model,
        plan=state.plan,
        scores=state.scores,
        cost=cost(state.model, procedure.costed),
        dense_cost=state.plan.dense,
        criterion=procedure.config.criterion.name,
        structure=structure,
        inexact={name: reason for name in pruned if (reason := structure.group(name).inexact)},
        attributes=state.attributes,
        compensation=state.compensation,
        rounds=state.rounds,
        examples=as_call(procedure.examples),
    )
