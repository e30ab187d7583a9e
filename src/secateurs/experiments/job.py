"""One pruning job as the command line runs it: everything named by text, kept in a directory, measured on the way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import Subset, random_split

from secateurs.budgets import Limits, Schedule
from secateurs.criteria import parse_criterion
from secateurs.data import ImageOptions
from secateurs.errors import PersistError, UsageError
from secateurs.experiments.specs import build_model, is_random, load_function, pretrained_path, read_data, read_dataset
from secateurs.huggingface.text import TextOptions, loader
from secateurs.pruning.run import Run
from secateurs.training import Fit, Recovery


@dataclass(frozen=True)
class Job:
    """The options of `secateurs prune`; see its help."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model: str
    data: str
    weights: str = ""
    device: str = ""
    training: str = ""
    validation: str = ""
    test: str = ""
    shape: tuple[int, ...] | None = None
    criterion: str = "obs"
    budget: str = "macs:0.5"
    keep: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    scope: str | None = None
    aggregate: str = "auto"
    compensate: bool = True
    limits: Limits = field(default_factory=Limits)
    schedule: Schedule = field(default_factory=Schedule)
    epochs_between: int = 0
    recovery: Recovery = field(default_factory=lambda: Recovery(epochs=0))
    fit: str = ""
    batch_size: int = 64
    images: ImageOptions = field(default_factory=ImageOptions)
    tokenizer: str = ""
    length: int | None = None
    trust_remote_code: bool = False
    samples: int = 1024
    seed: int = 0

    @classmethod
    def begun(cls, directory: Path) -> tuple[str, Job]:
        """The command and the job that began the run in a directory.

        Raises:
            PersistError: there is none.
        """
        command, job = Run.begun(directory)
        try:
            return command, TypeAdapter(cls).validate_json(json.dumps(job))
        except ValidationError as error:
            raise PersistError(f"{directory} holds no job of this version: {error}") from error

    def check(self) -> None:
        """See that names and forms are right, before anything slow.

        Raises:
            SecateursError: one is not.
        """
        self.schedule.budgets(self.budget)
        parse_criterion(self.criterion)
        if self.fit:
            load_function(self.fit, "fit")
        labelled = self.training or self.data
        if is_random(labelled) and (self.recovery.epochs or self.fit):
            raise UsageError(f"nothing can be learnt from {labelled!r}: give labelled data to train on (--train)")
        if self.schedule.during_training and (self.fit or self.epochs_between or not self.recovery.epochs):
            raise UsageError("to cut a model while it trains, give the epochs of its training (--epochs) alone")
        if self.epochs_between and self.schedule.rounds == 1:
            raise UsageError("with one round there is nothing between rounds: give several (--rounds)")

    @property
    def cutting(self) -> dict[str, Any]:
        """What `prune` is told of what to cut and how, by the names of its arguments."""
        names = "criterion budget seed keep kinds aggregate compensate limits scope schedule".split()
        return {name: getattr(self, name) for name in names}

    def dense(self) -> nn.Module:
        """The model to prune.

        Raises:
            ModelError: it cannot be had.
            UsageError: there is no such device.
        """
        model = build_model(self.model, self.weights, self.trust_remote_code)
        try:
            return model.to(self.device) if self.device else model
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the model cannot be moved to device {self.device!r}: {error}") from error

    def tested(self) -> Iterable[Any] | None:
        """What quality is measured on, if it is.

        Raises:
            DataError: it cannot be had.
        """
        return self._data(self.test, overlap=True) if self.test else None

    def calibration(self) -> Iterable[Any]:
        """What is scored and compensated on: as many samples as are wanted, drawn by the seed.

        Raises:
            DataError: it cannot be had.
        """
        if is_random(self.data):
            return self._data(self.data)
        dataset: Any = read_dataset(self.data, self.images, self.text)
        if self.samples < len(dataset):
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(self.seed))
            dataset = Subset(dataset, order[: self.samples].tolist())
        return loader(dataset, self.batch_size)

    def _recovery(self) -> Recovery | Fit | None:
        if self.fit:
            return load_function(self.fit, "fit")
        return None if is_random(self.training or self.data) else self.recovery

    def labelled(self) -> tuple[Iterable[Any], Iterable[Any] | None]:
        """What to train on, shuffled, and what an early stop goes by.

        Raises:
            DataError: it cannot be had.
        """
        labelled = self.training or self.data
        if is_random(labelled):
            return self._data(labelled), None
        dataset = read_dataset(labelled, self.images, self.text)
        try:
            share = float(self.validation)
        except ValueError:
            held_out = self._data(self.validation) if self.validation else None
        else:
            if not 0 < share < 1:
                raise UsageError(f"a share held out for validation lies between 0 and 1, not at {share:g}")
            parts = random_split(dataset, [1 - share, share], torch.Generator().manual_seed(self.seed))
            dataset, held_out = parts[0], loader(parts[1], self.batch_size)
        return loader(dataset, self.batch_size, torch.Generator().manual_seed(self.seed)), held_out

    @property
    def text(self) -> TextOptions:
        """How text becomes sequences of tokens."""
        return TextOptions(pretrained_path(self.model), self.tokenizer, self.length, self.trust_remote_code)

    def _data(self, spec: str, overlap: bool = False) -> Iterable[Any]:
        return read_data(spec, self.shape, self.batch_size, self.images, self.seed, self.text, overlap)
