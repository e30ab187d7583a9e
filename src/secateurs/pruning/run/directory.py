"""`Run`: a directory in which a procedure goes on from its last finished stage.

    run.json     what was asked for: command, settings, versions, digests of model and data
    log.jsonl    what happened when, one JSON object per line
    stages/      NN-NAME: the state after each finished stage (the weights of the latest alone)
    work/        what a stage under way keeps, such as the checkpoint of each epoch

A stage that is there is complete, since it is written under another name first.  Every stage begins with what the one
before wrote, and seeds all random numbers itself, so that going on gives the same as never having stopped.
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
from secateurs.pruning.run.checkpoint import MODEL, forget_weights, keep, restore
from secateurs.pruning.run.fingerprint import settings
from secateurs.pruning.stages import advance, stages_of
from secateurs.pruning.state import State
from secateurs.utils import atomic_path, atomic_write_text, barrier, environment, is_writer, require

FORMAT = 2
RECORD, LOG, STAGES, WORK, LOCK = "run.json", "log.jsonl", "stages", "work", ".lock"


class Run:
    """A directory for one run, new or to be gone on with.

    In a group of processes, the first writes and the others wait for it; all must see the same files.
    """

    def __init__(self, directory: str | Path, command: str = "", job: Mapping[str, Any] | None = None):
        """Nothing is written yet.

        Args:
            directory: new, or that of the run to go on with.
            command: how to do it again, for `run.json`.
            job: plain data of the caller's for `run.json`, from which it can set the run up again; see `begun`.
        """
        self.directory = Path(directory)
        self._command, self._job = command, job
        self._writes = is_writer()

    @staticmethod
    def begun(directory: str | Path) -> tuple[str, Any]:
        """The command that began a run, and the caller's data.

        Raises:
            PersistError: there is no run, or it was not begun by a command.
        """
        record = _record(Path(directory))
        if record.get("job") is None:
            raise PersistError(f"{directory} was not begun by the command line: go on with the call that began it")
        return record["command"], record["job"]

    @staticmethod
    def make_room(directory: str | Path, overwrite: bool = False) -> None:
        """See that a new run can begin in a directory.

        Args:
            directory: that is not there, or is empty; or is a run's, to be removed.
            overwrite: remove the run that is there.

        Raises:
            PersistError: something else is there, or a run that is not to be replaced.
        """
        directory = Path(directory)
        if not directory.exists() or (directory.is_dir() and not _visible(directory)):
            return
        if not overwrite:
            raise PersistError(
                f"{directory} exists already: go on with it (--resume), replace it (--overwrite), or choose another"
            )
        _record(directory)
        shutil.rmtree(directory)

    def through(self, procedure: Procedure) -> State:
        """Run all stages that are not finished yet.

        Raises:
            PersistError: the directory cannot be written, is in use, or holds another run.
            SecateursError: what a stage raises.
        """
        with self._opened(procedure):
            stages = {n: self.directory / STAGES / f"{i:02}-{n}" for i, n in enumerate(stages_of(procedure), 1)}
            finished = {name for name, path in stages.items() if path.exists()}
            barrier()  # or a process that is ahead would finish one before another looks
            previous: Path | None = None
            for name, path in stages.items():
                if name not in finished:
                    self._do(name, path, previous, procedure)
                previous = path
            assert previous is not None, "a procedure has at least one stage"
            return restore(previous, procedure.dense)

    def share_weights(self, saved: Path) -> None:
        """Keep the final weights once: the file of a saved model becomes another name of the last stage's file.

        Nothing changes if the weights differ, or if the file system has no links.

        Args:
            saved: the directory of a model that `Result.save` wrote.
        """
        last = max((self.directory / STAGES).iterdir()) / MODEL / WEIGHTS
        new = saved / WEIGHTS
        if digest(last) == digest(new):
            with suppress(OSError), atomic_path(new) as link:
                os.link(last, link)

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to the log.

        Raises:
            PersistError: it cannot be written.
        """
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **facts}
        if self._writes:
            with self._writing(), (self.directory / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _do(self, stage: str, path: Path, previous: Path | None, procedure: Procedure) -> None:
        """Do a stage, and keep what it leaves."""
        state = State(procedure.dense) if previous is None else restore(previous, procedure.dense)
        self.log("begins", stage=path.name)
        begin = time.perf_counter()
        after = advance(procedure, stage, state, self.directory / WORK / path.name)
        if self._writes:
            with self._writing():
                with atomic_path(path) as new:
                    keep(after, new, procedure.config.criterion.name)
                if previous is not None:
                    forget_weights(previous)
                self._tidy(path.name)
        barrier()
        seconds = round(time.perf_counter() - begin, 3)
        self.log("finished", stage=path.name, seconds=seconds, measured=after.rounds[-1].measured)

    def _tidy(self, stage: str) -> None:
        """Remove what the stage kept while it was under way, but for logs."""
        work = self.directory / WORK / stage
        for checkpoint in work.glob("*.safetensors"):
            checkpoint.unlink()
        for directory in (work, work.parent):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()

    @contextmanager
    def _opened(self, procedure: Procedure) -> Iterator[None]:
        """The directory, made or found to be this run's, and locked."""
        require("filelock", "runs")
        from filelock import FileLock, Timeout

        asked = json.loads(json.dumps(settings(procedure)))
        if not self._writes:
            barrier()  # for the record
            yield
            return
        with self._writing():
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.directory / LOCK, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise PersistError(f"{self.directory} is in use by another process that runs it") from None
        try:
            with self._writing():
                self._begin(asked)
            barrier()
            yield
        finally:
            lock.release()

    def _begin(self, asked: dict[str, Any]) -> None:
        if not (self.directory / RECORD).exists():
            if others := _visible(self.directory):
                raise PersistError(f"{self.directory} is no run's directory: it holds {', '.join(others[:5])}")
            record = {"format": FORMAT, "command": self._command, "settings": asked, "versions": environment()}
            atomic_write_text(self.directory / RECORD, json.dumps({**record, "job": self._job}, indent=1) + "\n")
            self.log("new")
            return
        record = _record(self.directory)
        was = record["settings"]
        changed = [
            f"{name} was {was.get(name)!r}, now {value!r}" for name, value in asked.items() if was.get(name) != value
        ]
        if changed:
            raise PersistError(f"{self.directory} holds another run: {'; '.join(changed)}. Choose another directory")
        for left_over in (self.directory / STAGES).glob(".*"):  # by a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        self.log("resumed", **({} if record["versions"] == environment() else {"versions": environment()}))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PersistError(
                f"the run cannot be kept in {self.directory}: {error}. Finished stages are intact: fix this and "
                "run the same command again"
            ) from error


def _record(directory: Path) -> dict[str, Any]:
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PersistError(f"{directory} is not a run's directory: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT or not {"settings", "versions"} <= set(record):
        raise PersistError(f"{directory / RECORD} is not a record of this version (format {FORMAT})")
    return record


def _visible(directory: Path) -> list[str]:
    """What is there, but for what a process that was killed at the very beginning leaves."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
