"""Runs in parallel: in worker processes on this machine, or on a Ray cluster."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.run_job import run_job
from secateurs.utils import require, silent

# Processes are forked off one that has imported everything, so that each starts at once and none can harm another.
CONTEXT: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")


@dataclass(frozen=True)
class Cell:
    """One run of several.

    Attributes:
        name: for people.
        job: what is run.
        directory: where it is kept.
        dense: a file with the figures of the dense model, which is that of the others too.
    """

    name: str
    job: Job
    directory: Path
    dense: Path

    @property
    def report(self) -> Path:
        """What it found."""
        return self.directory / "report.json"

    @property
    def finished(self) -> bool:
        """Whether it has found it."""
        return self.report.exists()

    def run(self, threads: int) -> str | None:
        """Run it, or go on with it; what went wrong, as text."""
        torch.set_num_threads(threads)
        try:
            figures = json.loads(self.dense.read_text(encoding="utf-8"))
            run_job(self.job, self.directory, silent, "", figures)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


Execute = Callable[[Sequence[Cell]], Iterator[tuple[Cell, str | None]]]
"""Runs cells, and yields each once it is done, with what went wrong."""


def on_this_machine(workers: int, preload: Sequence[str] = ()) -> Execute:
    """Cells each in a process of its own, so many at a time; the processors are shared among them.

    Args:
        workers: how many at a time.
        preload: modules that they need to have been imported first of all.

    Raises:
        UsageError: not a number of workers.
    """
    if workers < 1:
        raise UsageError(f"a comparison needs at least one worker, not {workers}")
    threads = max(1, (os.cpu_count() or 1) // workers)

    def execute(cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
        if hasattr(CONTEXT, "set_forkserver_preload"):
            # Tracing would import the last, which takes seconds.
            CONTEXT.set_forkserver_preload([*preload, "secateurs.experiments.workers", "torch._dynamo"])
        running: set[Any] = set()
        with ThreadPoolExecutor(workers) as pool:
            waiting = {pool.submit(_apart, cell, threads, running): cell for cell in cells}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:  # whoever stops us stops them: they can go on from where they are
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(running):
                    process.terminate()

    return execute


def on_ray(cpus: int = 1) -> Execute:
    """Cells as tasks of a Ray cluster (the one that RAY_ADDRESS names, else one on this machine).

    Every node must see the same files, under the same paths.

    Args:
        cpus: that each cell takes.

    Raises:
        UsageError: Ray is not installed.
    """
    ray = require("ray", "ray")
    RayError = require("ray.exceptions", "ray").RayError

    def execute(cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        run = ray.remote(num_cpus=cpus, max_retries=0)(Cell.run)
        waiting = {run.remote(cell, cpus): cell for cell in cells}
        while waiting:
            (done,), _ = ray.wait(list(waiting))
            cell = waiting.pop(done)
            try:
                yield cell, ray.get(done)
            except RayError as error:
                yield cell, f"{type(error).__name__}: {error}"

    return execute


def _apart(cell: Cell, threads: int, running: set[Any]) -> str | None:
    """Run a cell in a process of its own, kept among those running; what went wrong, whatever it was."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(cell, threads, theirs))
    process.start()
    running.add(process)
    theirs.close()
    try:
        error = ours.recv()
    except EOFError:
        error = "the worker process exited without a result"
    finally:
        process.join()
        running.discard(process)
    return f"its process was killed by signal {-process.exitcode}" if process.exitcode < 0 else error


def end_with_parent() -> None:
    """From now on this process, which another one started, ends when that one does, however it does."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None, "this process was started by another one"
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _send(cell: Cell, threads: int, pipe: Connection) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which Ctrl-C reaches too, has the say
    pipe.send(cell.run(threads))
