"""`with_job`: the options of a job, for every command that runs jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click

from secateurs.cli.fields import BETWEEN, EPOCHS, SECTIONS, dest, parameters, with_default
from secateurs.errors import UsageError
from secateurs.experiments import Job, read_job
from secateurs.training import Recovery

Given = Mapping[tuple[str, ...], Any]
RECOVERY = ("config", "recovery")
CELL = ("criterion", "budget", "seed")
"""The fields of a configuration that commands with several runs choose for each run."""


@dataclass(frozen=True)
class JobOptions:
    """The options of a command line that describe a job.

    Attributes:
        given: path of a field → the value that the user gave.
        preset: path of a field → the default value of the command, where it differs from that of the field.
        file: a file with the configuration or the job that the values change; None for the defaults.
    """

    given: Given
    preset: Given = field(default_factory=dict)
    file: Path | None = None

    def job(self) -> Job:
        """Make the job.

        Raises:
            BadParameter: the model or the data is missing.
            SecateursError: a value or a combination of values is invalid.
        """
        job = Job("", "") if self.file is None else read_job(self.file)
        job = dataclasses.replace(job, **self._section(()))
        if not job.model or not job.data:
            raise click.BadParameter("give a model and --data")
        images = dataclasses.replace(job.images, **self._section(("images",)))
        limits = dataclasses.replace(job.config.limits, **self._section(("config", "limits")))
        schedule = dataclasses.replace(job.config.schedule, **self._section(("config", "schedule")))
        between, recovery = self._training(job)
        job = job.with_config(
            **self._section(("config",)), limits=limits, schedule=schedule, between=between, recovery=recovery
        )
        return dataclasses.replace(job, images=images)

    def _section(self, section: tuple[str, ...]) -> dict[str, Any]:
        """Field name → value, for the fields of one class."""
        return {
            path[-1]: value
            for path, value in {**self.preset, **self.given}.items()
            if path[:-1] == section and path not in SECTIONS and path != BETWEEN
        }

    def _training(self, job: Job) -> tuple[Recovery | None, Recovery | None]:
        """The recipe of training between rounds, and of training after the last round; None for no training."""
        config, recipe = job.config, self._section(RECOVERY)
        epochs, epochs_between = recipe.pop("epochs", None), self.given.get(BETWEEN)
        recovery = _changed_recipe(config.recovery, recipe, epochs, job.recipe)
        between = _changed_recipe(config.between, recipe, epochs_between, job.recipe)
        unused = sorted(path[-1] for path in self.given if path[:-1] == RECOVERY and path != EPOCHS)
        if unused and recovery is None and between is None:
            raise UsageError(
                f"options of training are given ({', '.join(unused)}), but nothing is trained: add --epochs"
            )
        return between, recovery


def _changed_recipe(before: Any, recipe: Mapping[str, Any], epochs: int | None, default: Recovery) -> Recovery | None:
    """Change a recipe: None for 0 epochs; if no number of epochs is given, None only if there was no recipe before."""
    if epochs == 0 or (epochs is None and not isinstance(before, Recovery)):
        return None
    base = before if isinstance(before, Recovery) else default
    return dataclasses.replace(base, **recipe, **({} if epochs is None else {"epochs": epochs}))


def with_job(
    *, cell: tuple[str, ...] = (), without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a job to a command whose first parameter is `job`.

    Args:
        cell: the names in `CELL` that are options of this command.
        without: the names of fields that are not options of this command.
        **defaults: field name → default value for this command, for fields of `Job`, `PruningConfig` and `Recovery`.

    Returns:
        A decorator. The command receives `JobOptions`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shown = [
            (path, parameter)
            for path, parameter in parameters()
            if path[-1] not in without and (path[:-1] != ("config",) or path[-1] not in CELL or path[-1] in cell)
        ]
        fields = {path[-1]: path for path, _ in shown}
        preset = {fields[name]: value for name, value in defaults.items()}

        @wraps(command)
        def run(config: Path | None, **values: Any) -> None:
            given = {path: values.pop(dest(path)) for path, _ in shown}
            given = {path: value for path, value in given.items() if value is not None and value != ()}
            command(JobOptions(given, {} if config else preset, config), **values)

        for path, parameter in reversed(shown):
            if path in preset:
                _show_default(parameter, preset[path])
            _add(run, parameter)
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A JSON file of PruningConfig.save, or the run.json of a run to repeat; other options override it.",
        )(run)

    return decorate


def _show_default(parameter: click.Parameter, value: Any) -> None:
    """Replace the default in the help text of an option."""
    if isinstance(parameter, click.Option):
        parameter.help = with_default((parameter.help or "").partition("  [default:")[0], value)


def _add(command: Any, parameter: click.Parameter) -> None:
    """Add a parameter to a command in the way of click's own decorators."""
    command.__click_params__ = [*getattr(command, "__click_params__", []), parameter]
