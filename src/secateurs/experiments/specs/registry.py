"""The registry of specs: the prefixes in "npz:PATH" or "hf:PATH", and the function that reads each form.

A new file in `specs/readers` is imported automatically. Code outside the package registers a reader with the
decorators `data_spec` and `model_spec`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn
from torch.utils.data import Dataset

from secateurs.data import ImageOptions
from secateurs.errors import UsageError
from secateurs.huggingface.text import TextOptions


@dataclass(frozen=True)
class ModelOptions:
    """The options of a reader of models, besides the spec.

    Attributes:
        has_weights: whether weights are loaded into the model afterwards, so that it need not be trained.
        trust_remote_code: run Python code that is part of a model of the hub.
    """

    has_weights: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class DataOptions:
    """The options of a reader of data, besides the spec.

    Attributes:
        shape: the shape of one generated input, without the batch dimension.
        batch_size: samples per generated batch.
        seed: the seed of generated inputs.
        images: options of the conversion of images in a folder to inputs.
        text: options of the conversion of text to sequences of tokens.
        overlap: whether the sequences of tokens overlap; see `secateurs.text_data`.
    """

    shape: tuple[int, ...] | None = None
    batch_size: int = 64
    seed: int = 0
    images: ImageOptions = field(default_factory=ImageOptions)
    text: TextOptions = field(default_factory=TextOptions)
    overlap: bool = False


ReadModel = Callable[[str, ModelOptions], nn.Module]
"""Takes the text after the colon and the options, and returns the model."""

ReadData = Callable[[str, DataOptions], "Dataset[Any] | Iterable[Any]"]
"""Takes the text after the colon and the options, and returns a data set (or batches, if the data is generated)."""

Reader = TypeVar("Reader", ReadModel, ReadData)


@dataclass(frozen=True)
class Spec(Generic[Reader]):
    """One way to name a model or data as text.

    Attributes:
        prefix: the text before the colon.
        form: the form that users write, such as "npz:PATH".
        summary: the help text, one line.
        read: the reader, which receives the text after the colon.
        generated: whether the reader generates batches without labels, which cannot be used for training.
    """

    prefix: str
    form: str
    summary: str
    read: Reader
    generated: bool = False


MODEL_SPECS: dict[str, Spec[ReadModel]] = {}
DATA_SPECS: dict[str, Spec[ReadData]] = {}


def model_spec(prefix: str, form: str) -> Callable[[ReadModel], ReadModel]:
    """Register a function as the reader of models named "prefix:…"; the first line of its docstring is the help text.

    Args:
        prefix: the text before the colon.
        form: the form that users write, such as "hf:PATH".

    Raises:
        UsageError: the prefix is already registered, or the function has no docstring.

    Example:
        >>> from secateurs.experiments.specs import build_model, model_spec
        >>> @model_spec("linear", "linear:IN,OUT")
        ... def linear(argument, options):
        ...     "A linear layer."
        ...     return nn.Linear(*map(int, argument.split(",")))
        >>> build_model("linear:3,2")
        Linear(in_features=3, out_features=2, bias=True)
    """
    return lambda read: _add(MODEL_SPECS, Spec(prefix, form, _summary(prefix, read), read))


def data_spec(prefix: str, form: str, generated: bool = False) -> Callable[[ReadData], ReadData]:
    """Register a function as the reader of data named "prefix:…"; the first line of its docstring is the help text.

    Args:
        prefix: the text before the colon.
        form: the form that users write, such as "npz:PATH".
        generated: whether the function returns batches without labels instead of a data set.

    Raises:
        UsageError: the prefix is already registered, or the function has no docstring.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from secateurs.experiments.specs import data_spec, read_data
        >>> @data_spec("zeros", "zeros:N")
        ... def zeros(argument, options):
        ...     "N vectors of three zeros."
        ...     return TensorDataset(torch.zeros(int(argument), 3))
        >>> [list(x.shape) for (x,) in read_data("zeros:5", batch_size=4)]
        [[4, 3], [1, 3]]
    """
    return lambda read: _add(DATA_SPECS, Spec(prefix, form, _summary(prefix, read), read, generated))


def _add(specs: dict[str, Spec[Reader]], spec: Spec[Reader]) -> Reader:
    """Register a spec, and return its reader."""
    if spec.prefix in specs:
        raise UsageError(
            f"the prefix {spec.prefix!r} is already registered ({specs[spec.prefix].form}): choose another"
        )
    specs[spec.prefix] = spec
    return spec.read


def _summary(prefix: str, read: Callable[..., Any]) -> str:
    """The first line of a reader's docstring."""
    if not read.__doc__:
        raise UsageError(f"the reader of {prefix!r} needs a docstring: its first line is the help text")
    return inspect.cleandoc(read.__doc__).splitlines()[0]
