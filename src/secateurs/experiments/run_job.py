"""Running one job: everything named by text is read, pruned in a directory, measured and reported."""

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
    """Go all the way, or on from where the directory's run was; write the pruned model and the report there.

    In processes that `torchrun` started, each reads a part of the data, and the first writes.

    Args:
        directory: new, or that of the same run.
        progress: wraps the iteration over the data.
        command: how to do it again.
        figures: of the dense model, where they were measured before.

    Raises:
        SecateursError: anything named cannot be used.
    """
    job.check()
    with process_group(job.device), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SecateursWarning)
        dense = job.dense()
        data, test, training, validation = map(_shared, (job.calibration(), job.tested(), *job.labelled()))
        result = prune(
            dense,
            data,
            **job.cutting,
            between=dataclasses.replace(job.recovery, epochs=job.epochs_between) if job.epochs_between else None,
            recovery=job._recovery(),
            training=training,
            validation=validation,
            measure=None if test is None else measure(test),
            directory=Run(directory, command, dataclasses.asdict(job)),
            progress=progress,
        )
        if figures is None:
            figures = {} if test is None else measure(test)(dense)
        comparison = compared(job, dense, figures, result, data, command)
        told = dict.fromkeys(str(its.message) for its in caught if issubclass(its.category, SecateursWarning))
        comparison = dataclasses.replace(comparison, warnings=tuple(told))
        if is_writer():
            form = _save(job, result, directory / MODEL)
            comparison = dataclasses.replace(comparison, notes=[*comparison.notes, form])
            write_report(comparison, directory)
    return result, comparison


def _save(job: Job, result: Result, directory: Path) -> str:
    """Write the pruned model, for `from_pretrained` if it was named by hf: and its class allows; say which."""
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


def _shared(data: Any) -> Any:
    """Data of which each process reads a part, where there are several."""
    return shard(data) if data is not None and distributed.is_initialized() else data
