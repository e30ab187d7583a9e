"""`prune`: the whole way through the house in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from secateurs.budgets import EFFECTIVE, Budget, Limits, Plan, Schedule, resolve_limits
from secateurs.criteria import Named, parse_criterion
from secateurs.data import Call, Loss, as_call, first_batch
from secateurs.errors import DataError, UsageError
from secateurs.persist import save, save_pretrained
from secateurs.pruning.procedure import Procedure
from secateurs.pruning.run import Run
from secateurs.pruning.state import Measure, Round, State
from secateurs.structure import Cost, Structure, cost
from secateurs.surgery import Attributes, Compensation
from secateurs.training import Fit, Recovery, check_training
from secateurs.utils import Progress, silent


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


def prune(
    model: nn.Module,
    data: Iterable[Any],
    criterion: Named = "obs",
    budget: str = "macs:0.5",
    example_inputs: Any = None,
    seed: int = 0,
    *,
    loss: Loss | None = None,
    aggregate: str = "auto",
    compensate: bool = True,
    keep: Sequence[str] = (),
    kinds: Sequence[str] | str | None = None,
    limits: Limits | None = None,
    scope: str | None = None,
    schedule: Schedule | None = None,
    between: Recovery | Fit | None = None,
    recovery: Recovery | Fit | None = None,
    training: Iterable[Any] | None = None,
    validation: Iterable[Any] | None = None,
    measure: Measure | None = None,
    directory: str | Path | Run | None = None,
    progress: Progress = silent,
) -> Result:
    """Trace, score, plan, cut, verify, compensate and recover, in one round or several.

    A group whose removal fails verification is left whole, and the budget is met by the others.

    Args:
        model: the dense model; it is not changed.
        data: see `secateurs.data.batches`, or `random_inputs`.
        criterion: a name from `secateurs list`, or a criterion.
        budget: see `allocate`; of the dense model, whatever the rounds.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments; by default the first sample of the data.
        seed: for criteria that draw random numbers, and for training.
        loss: for criteria that need gradients, and for training; see `secateurs.losses.loss_of`.
        aggregate: how the scores of a unit that lies in several layers become one; see `score_many`.
        compensate: let the units that stay take over what the removed ones did, as far as they can predict it; see
            `compensate`. After each round if the model is trained between rounds, otherwise once, after the last, so
            that no weight changes between rounds. What it needs is observed along with what the criterion does, or in
            a pass of its own if the criterion looks at no activations.
        keep: names or patterns of modules whose units stay; see `trace`.
        kinds: which kinds of units may go; see `trace`.
        limits: bounds for each group; groups alike get the same width if `model` generates text with `transformers`,
            unless `Limits.uniform` says otherwise, or the budget is "effective" and the scope given as "global".
        scope: how units compete, see `allocate`; by default as suits the criterion: "per-cost" if scores are what is
            lost with a unit, "relative" if they are norms, "global" if they mean the same everywhere, else "local".
        schedule: in how many rounds; by default one.
        between: recovery after each round but the last.
        recovery: after the last round. Batch norm is recalibrated where there is any; then the model is trained by the
            recipe (with 0 epochs, not at all; with `distill_weight`, the dense model is the teacher), or by a function
            of your own that trains the model it is given in place.
        training: labelled batches for recovery; by default the data.
        validation: labelled batches that an early stop goes by; see `Recovery.patience`.
        measure: figures of a model by name, such as `lambda m: {"accuracy": sc.accuracy(m, test)}`, taken at every
            stage. Nothing is chosen by them.
        directory: keep the run there, stage by stage. If the process is killed, the same call goes on from the last
            finished stage (or epoch of training) and ends with the same weights.
        progress: wraps the iteration over the data.

    Returns:
        The pruned model and the evidence.

    Raises:
        SecateursError: of the kind that `trace`, `score`, `allocate`, `apply`, `finetune` raise; `PersistError` if the
            directory cannot be written, or holds another run.
    """
    chosen = parse_criterion(criterion)
    if not isinstance(seed, int) or seed < 0:
        raise UsageError(f"the seed must be an integer ≥ 0, not {seed!r}")
    _check(chosen.needs_loss, loss, schedule, between, recovery)
    for how in (between, recovery):
        if isinstance(how, Recovery) and how.epochs:
            labelled = data if training is None else training
            check_training(how, labelled, how.distill_weight > 0, validation, directory)
    examples = costed = example_inputs
    if example_inputs is None:
        # Two samples show which dimension holds the samples; costs are those of one.
        batch = first_batch(data)
        examples, costed = batch.sample(2), batch.sample(1)
    schedule = schedule or Schedule()
    reads = schedule.rounds * chosen.needs_data + (recovery is not None and training is None)
    reads += compensate and not any(leaf.requests for leaf in chosen.leaves)
    if isinstance(data, Iterator) and reads > 1:
        raise DataError(
            "the data is an iterator, which can be read only once, but each round, compensation and recovery read it; "
            "give a list or a DataLoader, or compensate=False"
        )
    procedure = Procedure(
        dense=model,
        data=data,
        criterion=chosen,
        budget=budget,
        examples=examples,
        costed=costed,
        per_sample=example_inputs is None,
        seed=seed,
        loss=loss,
        aggregate=aggregate,
        compensate=compensate,
        keep=keep,
        kinds=kinds,
        limits=resolve_limits(limits, model, pooled=scope == "global" and Budget.parse(budget).quantity == EFFECTIVE),
        scope=scope or chosen.scope,
        schedule=schedule,
        between=between,
        recovery=recovery,
        training=data if training is None else training,
        validation=validation,
        measure=measure,
        progress=progress,
    )
    state = _run(procedure, directory)
    assert state.plan is not None, "a schedule has at least one round"
    whole = procedure.structure.groups.keys() - state.plan.keep.keys()
    structure = procedure.structure.freeze({n: why for n, why in state.plan.frozen.items() if n in whole})
    removed = [name for name, gone in state.plan.removed().items() if gone]
    return Result(
        model=state.model,
        plan=state.plan,
        scores=state.scores,
        cost=cost(state.model, costed),
        dense_cost=state.plan.dense,
        criterion=chosen.name,
        structure=structure,
        inexact={name: why for name in removed if (why := structure.group(name).inexact)},
        attributes=state.attributes,
        compensation=state.compensation,
        rounds=state.rounds,
        examples=as_call(examples),
    )


def _run(procedure: Procedure, directory: str | Path | Run | None) -> State:
    """All stages, one after the other; with a directory, those that are not finished there."""
    state = State(procedure.dense)
    if directory is not None:
        run = directory if isinstance(directory, Run) else Run(directory)
        return run.through(procedure)
    for stage in procedure.stages:
        state = procedure.advance(stage, state)
    return state


def _check(scored: bool, loss: Any, schedule: Schedule | None, between: Any, recovery: Recovery | Fit | None) -> None:
    """See that nothing was given that would not be used.

    Raises:
        UsageError: something was.
    """
    for name, its in (("between", between), ("recovery", recovery)):
        if its is not None and not isinstance(its, Recovery) and not callable(its):
            raise UsageError(f"{name} must be a Recovery, or a function that trains a model in place, not {its!r}")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise UsageError(f"the schedule must be a Schedule, not {schedule!r}")
    if schedule is not None and schedule.during_training:
        if not isinstance(recovery, Recovery) or not recovery.epochs or between is not None:
            raise UsageError("to cut a model while it trains, say how it trains (recovery=Recovery(epochs=...)), once")
        return
    if between is not None and (schedule is None or schedule.rounds == 1):
        raise UsageError("with one round there is nothing between rounds: give a schedule of several, or recovery=")
    trained = any(isinstance(its, Recovery) and its.epochs for its in (between, recovery))
    if loss is not None and not scored and not trained:
        raise UsageError("the criterion needs no gradients and nothing is trained: leave `loss` out")
