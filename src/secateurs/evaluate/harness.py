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
    """What EleutherAI's lm-evaluation-harness measures of a model, dense or pruned.

    The harness shows its own progress, and fetches the data of its own tasks from the hub, unless it has them.

    Args:
        model: a causal model of the transformers library; evaluated, not changed.
        tokenizer: its own.
        tasks: names of the harness's tasks, such as "hellaswag"; with a folder, of those in the folder.
        folder: with task files of your own (YAML), which may read local data.
        batch_size: requests at a time.
        length: tokens that the model reads at most; by default as many as it takes.
        limit: samples per task; by default all.

    Returns:
        Figures by task and name, such as {"hellaswag": {"acc": 0.5, "acc_stderr": 0.01}}; the names of a filter that
        the harness applied to answers follow a comma.

    Raises:
        UsageError: lm-eval is not installed, or the harness cannot do these tasks with this model.
    """
    evaluator, models, defined = [
        require(f"lm_eval.{name}", "lm-eval") for name in ("evaluator", "models.huggingface", "tasks")
    ]
    with evaluating(model):
        try:
            reader = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=length)
            manager = defined.TaskManager(include_path=folder and str(folder), include_defaults=folder is None)
            found = evaluator.simple_evaluate(
                reader, tasks=[*tasks], task_manager=manager, limit=limit, log_samples=False
            )
        except Exception as error:
            raise UsageError(f"the harness cannot do {', '.join(tasks)}: {type(error).__name__}: {error}") from error
    return {task: _figures(figures) for task, figures in found["results"].items()}


def _figures(figures: dict[str, Any]) -> dict[str, float]:
    """Numbers alone, and without the name of the filter where there was none."""
    named = {name.removesuffix(",none"): value for name, value in figures.items() if "," in name}
    return {name: float(value) for name, value in named.items() if isinstance(value, (int, float))}
