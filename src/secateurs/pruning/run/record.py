"""The record of a run, `run.json`: the command, the settings, the versions of libraries and the caller's job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateurs.errors import PersistError
from secateurs.utils import atomic_write_text, environment

FORMAT = 2
RECORD = "run.json"


def read_record(directory: Path) -> dict[str, Any]:
    """Read the record in a directory.

    Raises:
        PersistError: the directory has no record, or one of another format.
    """
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PersistError(f"{directory} is not a run's directory: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT or not {"settings", "versions"} <= set(record):
        raise PersistError(f"{directory / RECORD} is not a run's record in the format of this version ({FORMAT})")
    return record


def write_record(directory: Path, command: str, settings: Mapping[str, Any], job: Mapping[str, Any] | None) -> None:
    """Write the record of a new run.

    Raises:
        PersistError: the directory contains other files.
        OSError: the record cannot be written.
    """
    if others := _visible(directory):
        raise PersistError(f"{directory} is not a run's directory: it contains {', '.join(others[:5])}")
    record = {"format": FORMAT, "command": command, "settings": settings, "versions": environment(), "job": job}
    atomic_write_text(directory / RECORD, json.dumps(record, indent=1) + "\n")


def check_settings(directory: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check that the run in a directory has these settings, and return the record.

    Raises:
        PersistError: the settings differ, or there is no valid record.
    """
    record = read_record(directory)
    recorded = record["settings"]
    changed = [
        f"{name} was {recorded.get(name)!r}, now {value!r}"
        for name, value in settings.items()
        if recorded.get(name) != value
    ]
    if changed:
        raise PersistError(f"{directory} contains another run: {'; '.join(changed)}. Choose another directory")
    return record


def prepare_directory(directory: Path, overwrite: bool) -> None:
    """Make sure that a new run can start in a directory.

    Args:
        directory: a directory that does not exist, is empty, or contains a run.
        overwrite: delete the run that the directory contains.

    Raises:
        PersistError: the directory contains a run and `overwrite` is False, or it contains other files.
    """
    if not directory.exists() or (directory.is_dir() and not _visible(directory)):
        return
    if not overwrite:
        raise PersistError(
            f"{directory} exists already: resume the run (--resume), replace it (--overwrite), or choose another "
            "directory"
        )
    read_record(directory)
    shutil.rmtree(directory)


def _visible(directory: Path) -> list[str]:
    """The names of all files except hidden ones, which a process leaves if it is killed before it writes the record."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
