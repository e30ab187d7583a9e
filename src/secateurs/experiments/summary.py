"""Measure the models of a job, and collect the figures in a `Comparison` for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from secateurs.data import Batch, first_batch
from secateurs.evaluate import accuracy, latencies, mean_loss, perplexity, predicts_tokens, tokens_per_second
from secateurs.experiments.report import Comparison, Metric, Outcome, RoundOutcome
from secateurs.experiments.specs import is_random
from secateurs.huggingface import task_of
from secateurs.pruning import Result
from secateurs.utils import environment

if TYPE_CHECKING:
    from secateurs.experiments.job import Job

ACCURACY = Metric()
PERPLEXITY = Metric("perplexity", percent=False, higher_is_better=False)

MAX_NEW_TOKENS = 32
"""The largest number of tokens that are generated to measure the speed of generation."""


def measure(test: Iterable[Any]) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that measures a model on test data: perplexity if the data is text, otherwise accuracy."""
    if predicts_tokens(test):
        return lambda model: _text_figures(perplexity(model, test))
    return lambda model: {ACCURACY.name: accuracy(model, test), "loss": mean_loss(model, test)}


def compared(
    job: Job, dense: nn.Module, figures: Mapping[str, float], result: Result, data: Iterable[Any], command: str
) -> Comparison:
    """Measure latency, and compare the pruned model with the dense one.

    Args:
        job: the job that was run.
        dense: the dense model.
        figures: the figures of the dense model; empty if the job names no test data.
        result: the result of the job.
        data: the data on which units were scored.
        command: the command that repeats the job.

    Returns:
        The content of the report.
    """
    batch = first_batch(data)
    before, after = latencies([dense, result.model], batch.call)
    metric = PERPLEXITY if PERPLEXITY.name in figures else ACCURACY
    notes = [
        f"MACs are of one input; latency is of a batch of {batch.size}, the models taking turns.",
        *_generation_speed([dense, result.model], batch),
    ]
    if is_random(job.labelled_spec):
        notes.append("Batch norm keeps its statistics: those of random inputs would be wrong.")
    return Comparison(
        title=f"{type(dense).__name__} pruned to {job.config.budget} by {result.criterion}",
        model=job.model,
        dense=result.dense_cost,
        units={name: group.size for name, group in result.structure.groups.items()},
        frozen=result.structure.frozen,
        outcomes=[_outcome(job, result, (before, after), metric)],
        command=command,
        quality=figures.get(metric.name),
        loss=figures.get("loss"),
        metric=metric,
        notes=[*notes, *(f"Not exact: {name}: {reason}." for name, reason in result.inexact.items())],
        provenance={**environment(), "data": job.data, "seed": str(job.config.seed)},
    )


def _outcome(job: Job, result: Result, latency: tuple[float, float], metric: Metric) -> Outcome:
    """The figures of the pruned model."""
    rounds = [RoundOutcome(each.cost, each.widths, _qualities(each.measured, metric)) for each in result.rounds]
    return Outcome(
        criterion=result.criterion,
        budget=str(job.config.budget),
        seed=job.config.seed,
        cost=result.cost,
        latency=latency,
        quality=_qualities(result.measured, metric),
        keep=result.plan.keep,
        scores={name: scores.tolist() for name, scores in result.scores.items()},
        loss=result.measured.get("cut", {}).get("loss"),
        effective=result.plan.certificates,
        compensation={} if result.compensation is None else result.compensation.errors,
        rounds=rounds if len(rounds) > 1 else (),
    )


def _generation_speed(models: list[nn.Module], batch: Batch) -> list[str]:
    """A note on how fast causal language models continue the first sequence; no note for other models."""
    ids = batch.call.kwargs.get("input_ids")
    if ids is None or any(task_of(type(model).__name__) != "causal" for model in models):
        return []
    half = min(MAX_NEW_TOKENS, ids.shape[1] // 2)
    before, after = tokens_per_second(models, ids[:1, :half], half, seconds=1.0)
    return [
        f"The dense model writes {before:.3g} tokens per second, the pruned one {after:.3g} (×{after / before:.2f}): "
        f"{half} new tokens after {half}, one sequence, the models taking turns."
    ]


def _text_figures(value: float) -> dict[str, float]:
    return {PERPLEXITY.name: value, "loss": math.log(value)}


def _qualities(measured: Any, metric: Metric) -> dict[str, float]:
    """Stage → the value of the metric, for the stages at which it was measured."""
    return {stage: figures[metric.name] for stage, figures in measured.items() if metric.name in figures}
