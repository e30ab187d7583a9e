"""`Sweep`: run the same job with several criteria, budgets and seeds; each combination is a separate run."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import safetensors.torch
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from secateurs.budgets import Budget
from secateurs.criteria import parse_criterion
from secateurs.errors import PersistError, UsageError
from secateurs.experiments.job import Job
from secateurs.experiments.report import Comparison, write_report
from secateurs.experiments.summary import measure
from secateurs.experiments.workers import Cell, Execute
from secateurs.pruning import PruningConfig
from secateurs.training import Recovery
from secateurs.utils import Progress, atomic_path, atomic_write_text, environment

CONTROLS = ("l1", "random")
"""The baselines that are added to every sweep; a useful criterion is better than both."""

RECORD, DENSE, FIGURES, CELLS = "sweep.json", "dense.safetensors", "dense.json", "cells"


@dataclass(frozen=True)
class Sweep:
    """A comparison of criteria and budgets. All runs share the dense weights, the schedule and the recovery.

    Attributes:
        job: the job without criterion, budget and seed.
        criteria: the criteria to compare; the controls are added, and for SSI the reversed order.
        budgets: the budgets; every criterion is run at each of them.
        seeds: the number of repetitions, each with other calibration samples, random scores and order of training.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    job: Job
    criteria: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: int

    def __post_init__(self):
        if not self.criteria or not self.budgets or self.seeds < 1:
            raise UsageError("a comparison needs at least one criterion, one budget and one seed")
        object.__setattr__(self, "budgets", tuple(str(Budget.parse(budget)) for budget in self.budgets))

    @property
    def rows(self) -> list[str]:
        """The criteria, and the controls."""
        names = [name for criterion in self.criteria for name in (criterion, *_reversed(criterion))]
        return list(dict.fromkeys([*names, *CONTROLS]))

    def check(self) -> None:
        """Check the options of all jobs; see `Job.check`.

        Raises:
            SecateursError: an option is invalid.
        """
        for job in self._jobs():
            job.check()

    def cells(self, directory: Path) -> list[Cell]:
        """All runs, each in a separate directory; the runs of the first seed come first."""
        job = dataclasses.replace(self.job, weights=str(directory / DENSE))
        return [
            Cell(
                f"{cell.config.criterion.name} {cell.config.budget} seed {cell.config.seed}",
                cell,
                directory / CELLS / _name(cell.config),
                dense=directory / FIGURES,
            )
            for cell in dataclasses.replace(self, job=job)._jobs()
        ]

    def _jobs(self) -> Iterator[Job]:
        for seed in range(self.seeds):
            for budget in self.budgets:
                for criterion in self.rows:
                    yield self.job.with_config(criterion=criterion, budget=budget, seed=seed)

    def run(self, directory: Path, execute: Execute, progress: Progress, command: str, retries: int = 1) -> Comparison:
        """Run every cell that is not finished in this directory, and write the report there.

        A failed cell is resumed up to `retries` times. If it still fails, the report lists it, with the error.

        Args:
            directory: a new directory, or that of the same sweep.
            execute: runs the cells, several at a time.
            progress: wraps the cells.
            command: the command that repeats the sweep.
            retries: how many times a failed cell is resumed.

        Returns:
            The content of the report.

        Raises:
            PersistError: the directory contains something else, or cannot be written.
            UsageError: every cell failed.
        """
        self.check()
        self._begin(directory, command)
        failed: dict[str, str] = {}
        cells = self.cells(directory)
        remaining = [cell for cell in cells if not cell.finished]
        for _ in range(1 + retries):
            outcomes = execute(remaining)
            failed = {}
            for _, (cell, error) in zip(progress(range(len(remaining)), "comparing"), outcomes, strict=True):
                if error is not None:
                    failed[cell.name] = error
            remaining = [cell for cell in remaining if cell.name in failed]
            if not remaining:
                break
        comparison = self._comparison(cells, failed, command)
        write_report(comparison, directory)
        return comparison

    def _begin(self, directory: Path, command: str) -> None:
        """Write the record and the dense weights of a new sweep, or check the record of an earlier one."""
        plain = TypeAdapter(Sweep).dump_json(self)
        try:
            if (directory / RECORD).exists():
                if json.loads((directory / RECORD).read_text(encoding="utf-8")).get("sweep") != json.loads(plain):
                    raise PersistError(f"{directory} contains another comparison; choose another directory")
                return
            if directory.exists() and any(not path.name.startswith(".") for path in directory.iterdir()):
                raise PersistError(f"{directory} exists already and contains no comparison; choose another directory")
            self._write_dense(directory)
            record = {"command": command, "sweep": json.loads(plain), "versions": environment()}
            atomic_write_text(directory / RECORD, json.dumps(record, indent=1) + "\n")
        except (OSError, ValueError) as error:
            raise PersistError(f"the comparison cannot be stored in {directory}: {error}") from error

    def _write_dense(self, directory: Path) -> None:
        """Write what all cells share: the dense weights and the figures of the dense model."""
        dense, test = self.job.dense(), self.job.tested()
        with atomic_path(directory / DENSE) as new:
            safetensors.torch.save_model(dense, str(new))
        figures = {} if test is None else measure(test)(dense)
        atomic_write_text(directory / FIGURES, json.dumps(figures) + "\n")
        del dense
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()  # the worker processes need the memory

    @classmethod
    def stored(cls, directory: Path) -> tuple[str, Sweep]:
        """The command and the sweep that the record in a directory contains.

        Raises:
            PersistError: the directory contains no sweep of this version.
        """
        try:
            record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
            return record["command"], TypeAdapter(cls).validate_json(json.dumps(record["sweep"]))
        except (OSError, ValueError, KeyError, ValidationError) as error:
            raise PersistError(f"{directory} contains no comparison of this version: {error}") from error

    def _comparison(self, cells: list[Cell], failed: dict[str, str], command: str) -> Comparison:
        """Join the reports of all finished cells."""
        reports = [Comparison.load(cell.report) for cell in cells if cell.finished]
        if not reports:
            name, error = next(iter(failed.items()))
            raise UsageError(f"every cell failed; the first ({name}): {error}")
        outcomes = [outcome for report in reports for outcome in report.outcomes]
        config = self.job.config
        epochs = config.recovery.epochs if isinstance(config.recovery, Recovery) else 0
        notes = [
            "Every model starts from the same dense weights. Rounds of scoring and cutting: "
            f"{config.schedule.rounds}; epochs of recovery: {epochs}; the same for all. Mean and "
            f"standard deviation over {self.seeds} seeds, of the last epoch; nothing is chosen by the test data.",
            *reports[0].notes[:1],
        ]
        return dataclasses.replace(
            reports[0],
            title=f"{self.job.model}: {len(self.rows)} criteria at {', '.join(self.budgets)}",
            outcomes=[each if each.seed == 0 else dataclasses.replace(each, scores={}) for each in outcomes],
            command=command,
            notes=notes,
            warnings=tuple(dict.fromkeys(text for report in reports for text in report.warnings)),
            failed=failed,
        )


def _reversed(criterion: str) -> list[str]:
    """The reversed SSI criteria that serve as controls of a criterion."""
    return [
        f"reversed-{leaf.name}" for leaf in parse_criterion(criterion).leaves if leaf.name in ("ssi", "ssi-literal")
    ]


def _name(config: PruningConfig) -> str:
    """The name of a cell's directory."""
    return re.sub(r"[^\w.+-]+", "_", f"{config.criterion.name}-{config.budget}-{config.seed}")
