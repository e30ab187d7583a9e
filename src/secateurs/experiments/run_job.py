"""`run_job`: read the model and the data of a job, prune, measure, save the model and write the report."""

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
"""The name of the directory of the pruned model within the directory of the run."""


def run_job(
    job: Job, directory: Path, progress: Progress, command: str, figures: Mapping[str, float] | None = None
) -> tuple[Result, Comparison]:
    """Start or resume the run of a job; write the pruned model and the report.

    In a group of processes that `torchrun` started, each process reads a part of the data, and the first one writes.

    Args:
        job: the job to run.
        directory: a new directory, or that of the run to resume.
        progress: wraps the iteration over the data.
        command: the command that repeats the job.
        figures: figures of the dense model; measured if they are None.

    Returns:
        The result of pruning, and the content of the report.

    Raises:
        SecateursError: the model, the data or an option of the job cannot be used.
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
            note = _save(job, result, directory / MODEL)
            run.share_weights(directory / MODEL)
            comparison = dataclasses.replace(comparison, notes=[*comparison.notes, note])
            write_report(comparison, directory)
    return result, comparison


def _save(job: Job, result: Result, directory: Path) -> str:
    """Write the pruned model, for `from_pretrained` if possible, and return a sentence that names the format."""
    shutil.rmtree(directory, ignore_errors=True)
    reason = ""
    if path := pretrained_path(job.model):
        try:
            processor = Pretrained(job.tokenizer or path, job.trust_remote_code).processor()
            result.save_pretrained(directory, processor)
            return f"The model is saved for from_pretrained{'' if processor else ', without a tokenizer'}."
        except PersistError as error:
            reason = f", not for from_pretrained: {error}"
    result.save(directory)
    return f"The model is saved for sc.load{reason}."


def _sharded(data: Any) -> Any:
    """The part of the data for this process if there are several processes; otherwise all of it."""
    return shard(data) if data is not None and distributed.is_initialized() else data
