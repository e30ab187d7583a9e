"""Evaluation with lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.errors import UsageError
from secateurs.utils import evaluating, require


def harness(
    model: nn.Module,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    folder: str | Path | None = None,
    batch_size: int = 8,
    length: int | None = None,
    limit: int | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate a model, dense or pruned, with EleutherAI's lm-evaluation-harness.

    The harness prints progress itself. It downloads the data of built-in tasks that are not cached.

    Args:
        model: a causal model of the transformers library; it is not changed.
        tokenizer: the tokenizer of the model.
        tasks: names of built-in tasks, such as "hellaswag", or of tasks in `folder`.
        folder: a directory with task files (YAML) of your own, which may read local data. If it is given, built-in
            tasks are not available.
        batch_size: requests per batch.
        length: maximum length of a sequence in tokens; by default the maximum of the model.
        limit: samples per task; by default all.

    Returns:
        Values by task and metric, such as {"hellaswag": {"acc": 0.5, "acc_stderr": 0.01}}. If the harness filtered the
        answers, the name of the metric ends with a comma and the name of the filter.

    Raises:
        UsageError: lm-eval is not installed, or the harness cannot run these tasks with this model.

    Example:
        >>> def compare(dense, pruned, tokenizer):
        ...     return [sc.harness(model, tokenizer, ["hellaswag"], limit=100) for model in (dense, pruned)]
    """
    evaluator, models, task_files = [
        require(f"lm_eval.{name}", "lm-eval") for name in ("evaluator", "models.huggingface", "tasks")
    ]
    with evaluating(model):
        try:
            wrapped = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=length)
            manager = task_files.TaskManager(include_path=folder and str(folder), include_defaults=folder is None)
            results = evaluator.simple_evaluate(
                wrapped, tasks=[*tasks], task_manager=manager, limit=limit, log_samples=False
            )
        except Exception as error:
            raise UsageError(
                f"lm-evaluation-harness cannot run {', '.join(tasks)}: {type(error).__name__}: {error}"
            ) from error
    return {task: _numbers(metrics) for task, metrics in results["results"].items()}


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Select the numeric metrics. The suffix ",none" (no filter) is removed from their names."""
    named = {name.removesuffix(",none"): value for name, value in metrics.items() if "," in name}
    return {name: float(value) for name, value in named.items() if isinstance(value, (int, float))}
