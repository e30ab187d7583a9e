"""`read_job`: read a job from a file, to run it again or with other options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from secateurs.errors import UsageError
from secateurs.experiments.job import Job
from secateurs.pruning import PruningConfig


def read_job(path: Path) -> Job:
    """Read a job from a file.

    Args:
        path: the `run.json` of a run, or a configuration that `PruningConfig.save` wrote.

    Returns:
        The job. Model and data are "" if the file contains only a configuration.

    Raises:
        UsageError: the file cannot be read, or contains neither a run nor a configuration.
        PersistError: another version of the library wrote the job.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the configuration {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"the configuration {path} must be a JSON object, not {values!r}")
    if "settings" not in values:
        return Job("", "", PruningConfig(**values))
    if values.get("job"):
        return Job.from_plain(values["job"], path)
    fields = {name: value for name, value in values["settings"].items() if name in PruningConfig.model_fields}
    return Job("", "", PruningConfig(**fields))
