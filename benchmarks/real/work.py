"""Cells measured in worker processes, each on one thread."""

from __future__ import annotations

import multiprocessing
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch

from benchmarks.real.experiment import Experiment, experiment
from benchmarks.real.record import Line, Settings, commit
from secateurs.experiments.workers import end_with_parent
from secateurs.utils.environment import environment


def measured(its: Experiment, cells: Sequence[Settings], workers: int) -> Iterator[tuple[Settings, Line | str]]:
    """Measure cells, so many at a time; each with its line, or with what went wrong.

    Args:
        its: the experiment.
        cells: in the order in which they are begun.
        workers: how many processes.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare) as pool:
        at = commit()
        waiting = {pool.submit(_measure, its.name, cell, at): cell for cell in cells}
        try:
            for done in as_completed(waiting):
                try:
                    yield waiting[done], done.result()
                except BrokenProcessPool as error:
                    yield waiting[done], str(error)
        finally:  # whoever stops us stops them
            pool.shutdown(wait=False, cancel_futures=True)


def _prepare() -> None:
    end_with_parent()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def _measure(name: str, settings: Settings, at: str) -> Line | str:
    start = time.perf_counter()
    try:
        figures = experiment(name).measure(settings)
    except Exception:
        return traceback.format_exc()
    return Line.now(settings, figures, time.perf_counter() - start, environment(), at)
