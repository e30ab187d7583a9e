"""`Job`: everything that determines a pruning run, as plain data: the model and the data are named by text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import Subset, random_split
from typing_extensions import Unpack

from secateurs.data import ImageOptions
from secateurs.errors import PersistError, UsageError
from secateurs.experiments.specs import build_model, is_random, load_function, pretrained_path, read_data, read_dataset
from secateurs.huggingface.text import TextOptions, loader
from secateurs.pruning import PruningConfig, PruningOptions
from secateurs.pruning.run import Run
from secateurs.training import Recovery


@dataclass(frozen=True)
class Job:
    """A pruning run as plain data: the configuration, and specs of the model, the data and the functions."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(description="py:path/to/file.py:factory, hf:PATH, or digits for the demo's model.")]
    data: Annotated[str, Field(description="npz:, folder:, text:, jsonl: or tsv:PATH, random:N, or digits.")]
    config: PruningConfig = field(default_factory=PruningConfig)
    training: Annotated[str, Field(description="Labelled data to recover on; by default --data.")] = ""
    validation: Annotated[str, Field(description="Labelled data, or the fraction of --train to hold out.")] = ""
    test: Annotated[str, Field(description="Data to measure accuracy or perplexity on.")] = ""
    samples: Annotated[
        int, Field(description="Number of samples of --data, drawn by the seed, to score and compensate on.")
    ] = 1024
    weights: Annotated[str, Field(description="A safetensors file to load into the model.")] = ""
    device: Annotated[str, Field(description="Such as cuda; by default where the model is built.")] = ""
    shape: Annotated[
        tuple[int, ...] | None, Field(description="Shape of one input without the batch dimension: 3,32,32.")
    ] = None
    batch_size: Annotated[int, Field(description="Samples per batch.")] = 64
    images: ImageOptions = field(default_factory=ImageOptions)
    tokenizer: Annotated[str, Field(description="Directory of the tokenizer; by default that of the model.")] = ""
    length: Annotated[
        int | None, Field(description="Tokens per sequence; by default the maximum of the model, at most 1024.")
    ] = None
    trust_remote_code: Annotated[bool, Field(description="Run Python code that comes with a model.")] = False
    fit: Annotated[str, Field(description="py:FILE:FUNCTION, which trains the model in place of the recipe.")] = ""

    @classmethod
    def stored(cls, directory: Path) -> tuple[str, Job]:
        """The command and the job that the record of a run contains.

        Raises:
            PersistError: the directory contains no run of a job.
        """
        command, job = Run.stored(directory)
        return command, cls.from_plain(job, directory)

    @classmethod
    def from_plain(cls, job: Any, path: Path) -> Job:
        """Convert the result of `plain` back to a job.

        Args:
            job: plain data.
            path: the file of the data, for the error message.

        Raises:
            PersistError: the data is not a job of this version.
        """
        try:
            return TypeAdapter(cls).validate_json(json.dumps(job))
        except (ValidationError, UsageError) as error:
            raise PersistError(f"{path} does not contain a job of this version: {error}") from error

    def plain(self) -> dict[str, Any]:
        """The job as plain data for JSON."""
        return TypeAdapter(Job).dump_python(self, mode="json")

    def with_config(self, **options: Unpack[PruningOptions]) -> Job:
        """The job with some fields of its configuration replaced.

        Raises:
            SecateursError: see `PruningConfig`.
        """
        return dataclasses.replace(self, config=self.config.replace(**options))

    @property
    def recipe(self) -> Recovery:
        """The recipe of the recovery; the defaults of `Recovery` if the configuration has no recipe."""
        return self.config.recovery if isinstance(self.config.recovery, Recovery) else Recovery()

    @property
    def run_config(self) -> PruningConfig:
        """The configuration with `fit` as recovery, and with recalibration unless the inputs are random."""
        config = self.config
        if self.fit:
            config = config.replace(recovery=load_function(self.fit, "fit"))
        if config.recalibrate is None and not config.schedule.during_training:
            config = config.replace(recalibrate=not is_random(self.labelled_spec))
        return config

    @property
    def labelled_spec(self) -> str:
        """The spec of the data to train on."""
        return self.training or self.data

    def check(self) -> None:
        """Check the options that can be checked without reading the model or the data.

        Raises:
            SecateursError: an option is invalid.
        """
        if self.fit:
            if self.config.recovery is not None:
                raise UsageError("give either --fit, a function that trains, or --epochs, a recipe; not both")
            load_function(self.fit, "fit")
        trains = self.fit or self.config.recovery is not None or self.config.between is not None
        if is_random(self.labelled_spec) and trains:
            raise UsageError(f"random inputs {self.labelled_spec!r} have no labels to train on: give --train")

    def dense(self) -> nn.Module:
        """Build the model to prune, on the device of the job.

        Raises:
            ModelError: the model cannot be built.
            UsageError: the device does not exist.
        """
        model = build_model(self.model, self.weights, self.trust_remote_code)
        try:
            return model.to(self.device) if self.device else model
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the model cannot be moved to device {self.device!r}: {error}") from error

    def tested(self) -> Iterable[Any] | None:
        """Read the test data; None if the job names none.

        Raises:
            DataError: the data cannot be read.
        """
        return self._data(self.test, overlap=True) if self.test else None

    def calibration(self) -> Iterable[Any]:
        """Read the data for scoring and compensation: `samples` samples, drawn by the seed.

        Raises:
            DataError: the data cannot be read.
        """
        if is_random(self.data):
            return self._data(self.data)
        dataset: Any = read_dataset(self.data, self.images, self.text)
        if self.samples < len(dataset):
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(self.config.seed))
            dataset = Subset(dataset, order[: self.samples].tolist())
        return loader(dataset, self.batch_size)

    def labelled(self) -> tuple[Iterable[Any], Iterable[Any] | None]:
        """Read the training data, shuffled by the seed, and the validation data, or None.

        Raises:
            DataError: the data cannot be read.
            UsageError: the fraction held out for validation is not between 0 and 1.
        """
        labelled = self.labelled_spec
        if is_random(labelled):
            return self._data(labelled), None
        dataset = read_dataset(labelled, self.images, self.text)
        try:
            share = float(self.validation)
        except ValueError:
            held_out = self._data(self.validation) if self.validation else None
        else:
            if not 0 < share < 1:
                raise UsageError(f"the fraction held out for validation must lie between 0 and 1, but is {share:g}")
            parts = random_split(dataset, [1 - share, share], torch.Generator().manual_seed(self.config.seed))
            dataset, held_out = parts[0], loader(parts[1], self.batch_size)
        return loader(dataset, self.batch_size, torch.Generator().manual_seed(self.config.seed)), held_out

    @property
    def text(self) -> TextOptions:
        """The options of the conversion of text to sequences of tokens."""
        return TextOptions(pretrained_path(self.model), self.tokenizer, self.length, self.trust_remote_code)

    def _data(self, spec: str, overlap: bool = False) -> Iterable[Any]:
        return read_data(spec, self.shape, self.batch_size, self.images, self.config.seed, self.text, overlap)
