"""Execute several runs in parallel: in worker processes on this machine, or on a Ray cluster."""

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

# Workers are forked from a server process that has imported everything, so that they start fast and are independent.
CONTEXT: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")


@dataclass(frozen=True)
class Cell:
    """One run of several.

    Attributes:
        name: the name in messages.
        job: the job to run.
        directory: the directory of the run.
        dense: a JSON file with the figures of the dense model, which all cells share.
    """

    name: str
    job: Job
    directory: Path
    dense: Path

    @property
    def report(self) -> Path:
        """The report of the run."""
        return self.directory / "report.json"

    @property
    def finished(self) -> bool:
        """Whether the run has finished: the report exists."""
        return self.report.exists()

    def run(self, threads: int) -> str | None:
        """Start or resume the run with this number of threads; return the error message, or None."""
        torch.set_num_threads(threads)
        try:
            figures = json.loads(self.dense.read_text(encoding="utf-8"))
            run_job(self.job, self.directory, silent, "", figures)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


Execute = Callable[[Sequence[Cell]], Iterator[tuple[Cell, str | None]]]
"""Runs cells, and yields each cell when it ends, with the error message, or None."""


def on_this_machine(workers: int, preload: Sequence[str] = ()) -> Execute:
    """Run each cell in a separate process; the processor cores are divided among the workers.

    Args:
        workers: the number of processes that run at a time.
        preload: names of modules that must be imported before all others.

    Returns:
        A function that runs cells.

    Raises:
        UsageError: the number of workers is less than 1.
    """
    if workers < 1:
        raise UsageError(f"a comparison needs at least one worker, not {workers}")
    threads = max(1, (os.cpu_count() or 1) // workers)

    def execute(cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
        if hasattr(CONTEXT, "set_forkserver_preload"):
            # torch._dynamo is imported by tracing and takes seconds.
            CONTEXT.set_forkserver_preload([*preload, "secateurs.experiments.workers", "torch._dynamo"])
        running: set[Any] = set()
        with ThreadPoolExecutor(workers) as pool:
            waiting = {pool.submit(_run_in_process, cell, threads, running): cell for cell in cells}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:  # if this process is interrupted, stop the workers; their runs can be resumed
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(running):
                    process.terminate()

    return execute


def on_ray(cpus: int = 1) -> Execute:
    """Run cells as tasks of a Ray cluster: the one that RAY_ADDRESS names, or else one on this machine.

    Every node must see the same files under the same paths.

    Args:
        cpus: the number of CPUs for each cell.

    Returns:
        A function that runs cells.

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


def _run_in_process(cell: Cell, threads: int, running: set[Any]) -> str | None:
    """Run a cell in a new process, which is a member of `running` meanwhile; return the error message, or None."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(cell, threads, sender))
    process.start()
    running.add(process)
    sender.close()
    try:
        error = receiver.recv()
    except EOFError:
        error = "the worker process exited without a result"
    finally:
        process.join()
        running.discard(process)
    return f"the worker process was killed by signal {-process.exitcode}" if process.exitcode < 0 else error


def end_with_parent() -> None:
    """End this worker process as soon as the parent process ends, even if the parent is killed."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None, "only a worker process calls this"
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _send(cell: Cell, threads: int, pipe: Connection) -> None:
    """Run a cell in a worker process, and send the error message, or None, to the parent."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C also reaches the parent, which stops this process
    pipe.send(cell.run(threads))
