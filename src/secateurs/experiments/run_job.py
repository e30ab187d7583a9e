"""`run_job`: read the model and the data that a job names, prune, measure, save and report."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import distributed

from secateurs.data import shard
from secateurs.errors import PersistError, SecateursWarning
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, write_report
from secateurs.experiments.specs import pretrained_path
from secateurs.experiments.summary import compared, measure
from secateurs.huggingface import Pretrained
from secateurs.pruning import Result, prune
from secateurs.pruning.run import Run
from secateurs.utils import Progress, is_writer, process_group

MODEL = "model"
"""Where in a run's directory the pruned model is saved."""


def run_job(
    job: Job, directory: Path, progress: Progress, command: str, figures: Mapping[str, float] | None = None
) -> tuple[Result, Comparison]:
    """Run a job from the start, or from where the run in the directory stopped; write the pruned model and the report.

    In processes that `torchrun` started, each process reads a part of the data, and the first one writes.

    Args:
        job: what to run.
        directory: new, or that of the same run.
        progress: wraps the iteration over the data.
        command: the command that runs the job again.
        figures: measurements of the dense model, if there are any already.

    Raises:
        SecateursError: something that the job names cannot be used.
    """
    job.check()
    with process_group(job.device), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SecateursWarning)
        dense = job.dense()
        data, test, training, validation = map(_sharded, (job.calibration(), job.tested(), *job.labelled()))
        run = Run(directory, command, job.plain())
        result = prune(
            dense,
            data,
            config=job.run_config,
            training=training,
            validation=validation,
            measure=None if test is None else measure(test),
            directory=run,
            progress=progress,
        )
        if figures is None:
            figures = {} if test is None else measure(test)(dense)
        comparison = compared(job, dense, figures, result, data, command)
        messages = [str(warning.message) for warning in caught if issubclass(warning.category, SecateursWarning)]
        comparison = dataclasses.replace(comparison, warnings=tuple(dict.fromkeys(messages)))
        if is_writer():
            form = _save(job, result, directory / MODEL)
            run.share_weights(directory / MODEL)
            comparison = dataclasses.replace(comparison, notes=[*comparison.notes, form])
            write_report(comparison, directory)
    return result, comparison


def _save(job: Job, result: Result, directory: Path) -> str:
    """Write the pruned model, for `from_pretrained` if an hf: model allows it; return a sentence that says which."""
    shutil.rmtree(directory, ignore_errors=True)
    why = ""
    if path := pretrained_path(job.model):
        try:
            processor = Pretrained(job.tokenizer or path, job.trust_remote_code).processor()
            result.save_pretrained(directory, processor)
            return f"The model is saved for from_pretrained{'' if processor else ', without a tokenizer'}."
        except PersistError as error:
            why = f", not for from_pretrained: {error}"
    result.save(directory)
    return f"The model is saved for sc.load{why}."


def _sharded(data: Any) -> Any:
    """The part of the data that this process reads, if there are several processes."""
    return shard(data) if data is not None and distributed.is_initialized() else data
