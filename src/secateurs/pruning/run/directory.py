"""`Run`: a directory from which an interrupted pruning run continues after the last finished stage.

    run.json     the command, the settings, the versions of libraries, and digests of the model and the data
    log.jsonl    the events of the run with their times, one JSON object per line
    stages/      NN-NAME: the state after each finished stage; only the latest one has weights
    work/        intermediate files of the current stage, such as the checkpoint of each epoch

A stage is written under a temporary name and renamed when it is complete, so that every stage in the directory is
complete. A stage starts from the stored result of the previous one, with random numbers that depend only on the seed.
A resumed run therefore gives the same result as an uninterrupted one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from secateurs.errors import PersistError
from secateurs.persist import WEIGHTS, digest
from secateurs.pruning.procedure import Procedure
from secateurs.pruning.run.checkpoint import MODEL, delete_weights, read_state, write_state
from secateurs.pruning.run.fingerprint import settings_of
from secateurs.pruning.run.record import RECORD, check_settings, prepare_directory, read_record, write_record
from secateurs.pruning.stages import advance, stages_of
from secateurs.pruning.state import State
from secateurs.utils import atomic_path, barrier, environment, is_writer, require

LOG, STAGES, WORK, LOCK = "log.jsonl", "stages", "work", ".lock"


class Run:
    """A directory of one run, which is new or will be resumed.

    In a process group, the first process writes and the others wait for it. All processes must see the same files.
    """

    def __init__(self, directory: str | Path, command: str = "", job: Mapping[str, Any] | None = None):
        """Refer to a directory; nothing is written yet.

        Args:
            directory: a new directory, or that of the run to resume.
            command: the command that repeats the run, for `run.json`.
            job: plain data for `run.json` from which the caller can set up the run again; see `stored`.
        """
        self.directory = Path(directory)
        self._command, self._job = command, job
        self._writes = is_writer()

    @staticmethod
    def stored(directory: str | Path) -> tuple[str, Any]:
        """The command and the job that the record of a run contains.

        Raises:
            PersistError: the directory contains no run, or the run was not started by a command.
        """
        record = read_record(Path(directory))
        if record.get("job") is None:
            raise PersistError(f"{directory} was not started by the command line: repeat the call that started it")
        return record["command"], record["job"]

    @staticmethod
    def prepare(directory: str | Path, overwrite: bool = False) -> None:
        """Make sure that a new run can start in a directory; see `prepare_directory`."""
        prepare_directory(Path(directory), overwrite)

    def execute(self, procedure: Procedure) -> State:
        """Run all stages that are not finished yet.

        Returns:
            The state after the last stage.

        Raises:
            PersistError: the directory cannot be written, is in use, or contains another run.
            SecateursError: the error of a stage.
        """
        with self._open(procedure):
            stages = {n: self.directory / STAGES / f"{i:02}-{n}" for i, n in enumerate(stages_of(procedure), 1)}
            finished = {name for name, path in stages.items() if path.exists()}
            barrier()  # otherwise a fast process could finish a stage before another process lists the finished ones
            previous: Path | None = None
            for name, path in stages.items():
                if name not in finished:
                    self._execute_stage(name, path, previous, procedure)
                previous = path
            assert previous is not None, "a procedure has at least one stage"
            return read_state(previous, procedure.dense)

    def share_weights(self, saved: Path) -> None:
        """Store the final weights once: replace the file of a saved model by a hard link to that of the last stage.

        Nothing changes if the weights differ, or if the file system does not support links.

        Args:
            saved: the directory of a model that `Result.save` wrote.
        """
        last = max((self.directory / STAGES).iterdir()) / MODEL / WEIGHTS
        new = saved / WEIGHTS
        if digest(last) == digest(new):
            with suppress(OSError), atomic_path(new) as link:
                os.link(last, link)

    def log(self, event: str, **fields: Any) -> None:
        """Append a line to the log.

        Raises:
            PersistError: the log cannot be written.
        """
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **fields}
        if self._writes:
            with self._write_errors(), (self.directory / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _execute_stage(self, stage: str, path: Path, previous: Path | None, procedure: Procedure) -> None:
        """Run a stage and write the state after it."""
        state = State(procedure.dense) if previous is None else read_state(previous, procedure.dense)
        self.log("begins", stage=path.name)
        begin = time.perf_counter()
        after = advance(procedure, stage, state, self.directory / WORK / path.name)
        if self._writes:
            with self._write_errors():
                with atomic_path(path) as new:
                    write_state(after, new, procedure.config.criterion.name)
                if previous is not None:
                    delete_weights(previous)
                self._delete_work(path.name)
        barrier()
        seconds = round(time.perf_counter() - begin, 3)
        self.log("finished", stage=path.name, seconds=seconds, measured=after.rounds[-1].measured)

    def _delete_work(self, stage: str) -> None:
        """Delete the checkpoints of a finished stage; logs stay."""
        work = self.directory / WORK / stage
        for checkpoint in work.glob("*.safetensors"):
            checkpoint.unlink()
        for directory in (work, work.parent):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()

    @contextmanager
    def _open(self, procedure: Procedure) -> Iterator[None]:
        """Lock the directory; write the record of a new run, or check that of an earlier one."""
        require("filelock", "runs")
        from filelock import FileLock, Timeout

        settings = json.loads(json.dumps(settings_of(procedure)))
        if not self._writes:
            barrier()  # wait until the first process has written or checked the record
            yield
            return
        with self._write_errors():
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.directory / LOCK, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise PersistError(f"{self.directory} is in use by another process, which executes the run") from None
        try:
            with self._write_errors():
                self._begin(settings)
            barrier()
            yield
        finally:
            lock.release()

    def _begin(self, settings: dict[str, Any]) -> None:
        """Write the record of a new run, or check that of the run to resume; log which of the two."""
        if not (self.directory / RECORD).exists():
            write_record(self.directory, self._command, settings, self._job)
            self.log("new")
            return
        record = check_settings(self.directory, settings)
        for temporary in (self.directory / STAGES).glob(".*"):  # left by a process that was killed
            shutil.rmtree(temporary, ignore_errors=True)
        self.log("resumed", **({} if record["versions"] == environment() else {"versions": environment()}))

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Turn an error of the file system into a `PersistError`."""
        try:
            yield
        except OSError as error:
            raise PersistError(
                f"the run cannot be stored in {self.directory}: {error}. Finished stages are intact: fix this and "
                "run the same command again"
            ) from error
