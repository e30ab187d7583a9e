"""The tasks of lm-evaluation-harness."""

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

    The harness shows its own progress, and downloads the data of its own tasks unless they are cached.

    Args:
        model: a causal model of the transformers library; it is not changed.
        tokenizer: the tokenizer of the model.
        tasks: names of tasks of the harness, such as "hellaswag", or of tasks in `folder`.
        folder: a directory with your own task files (YAML), which may read local data.
        batch_size: requests per batch.
        length: longest sequence in tokens; by default the maximum of the model.
        limit: samples per task; by default all.

    Returns:
        Figures by task and name, such as {"hellaswag": {"acc": 0.5, "acc_stderr": 0.01}}. If the harness filtered the
        answers, the name of the filter follows a comma.

    Raises:
        UsageError: lm-eval is not installed, or the harness cannot run these tasks with this model.

    Example:
        >>> def compare(dense, pruned, tokenizer):
        ...     return [sc.harness(each, tokenizer, ["hellaswag"], limit=100) for each in (dense, pruned)]
    """
    evaluator, models, defined = [
        require(f"lm_eval.{name}", "lm-eval") for name in ("evaluator", "models.huggingface", "tasks")
    ]
    with evaluating(model):
        try:
            reader = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=length)
            manager = defined.TaskManager(include_path=folder and str(folder), include_defaults=folder is None)
            results = evaluator.simple_evaluate(
                reader, tasks=[*tasks], task_manager=manager, limit=limit, log_samples=False
            )
        except Exception as error:
            raise UsageError(f"the harness cannot do {', '.join(tasks)}: {type(error).__name__}: {error}") from error
    return {task: _figures(figures) for task, figures in results["results"].items()}


def _figures(figures: dict[str, Any]) -> dict[str, float]:
    """Numbers alone, and without the name of the filter where there was none."""
    named = {name.removesuffix(",none"): value for name, value in figures.items() if "," in name}
    return {name: float(value) for name, value in named.items() if isinstance(value, (int, float))}
