"""Export of a model to the format of another tool, verified against the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateurs.data import Call, as_call
from secateurs.errors import PersistError, UsageError
from secateurs.structure import outputs_of
from secateurs.surgery import difference, run_model
from secateurs.utils import atomic_path, check_has_values, device_of, evaluating, rng

Runner = Callable[..., Any]
"""A function that runs the exported model. It takes the same arguments as the model."""

Write = Callable[[nn.Module, Call, Path], Runner | None]
"""A function of (model, call, path) that writes the model to the path. See `export_format`."""


@dataclass(frozen=True)
class ExportFormat:
    """A format that `export` can write.

    Attributes:
        name: the value of `export(format=...)`.
        summary: one line that describes the output.
        write: the function that writes the model.
    """

    name: str
    summary: str
    write: Write


EXPORT_FORMATS: dict[str, ExportFormat] = {}


def export_format(name: str) -> Callable[[Write], Write]:
    """Register a function as an export format of `export`.

    The function takes the model (in evaluation mode), the example inputs as a `Call`, and the path to write to, which
    does not exist yet. It returns a callable that runs the exported model on the arguments of the model, so that
    `export` can compare outputs. It returns None if it has verified the exported model itself. The first line of the
    docstring becomes the summary of the format.

    Args:
        name: the value of `export(format=...)`.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        UsageError: a format of this name exists, or the function has no docstring.

    Example:
        >>> from secateurs.persist import temporary_export_formats
        >>> with temporary_export_formats():  # removes the format at the end of the block
        ...     @sc.export_format("state")
        ...     def state(model, call, path):
        ...         "A file with the state dict."
        ...         torch.save(model.state_dict(), path)
        ...     sc.export(model, example_inputs, "weights.pt", format="state").name
        'weights.pt'
    """
    if name in EXPORT_FORMATS:
        raise UsageError(f"the export format {name!r} exists already: choose another name")

    def register(write: Write) -> Write:
        if not write.__doc__:
            raise UsageError(f"export format {name!r}: the function needs a docstring; the first line is the summary")
        EXPORT_FORMATS[name] = ExportFormat(name, write.__doc__.strip().splitlines()[0], write)
        return write

    return register


@contextmanager
def temporary_export_formats() -> Iterator[None]:
    """Restore the registered export formats at the end of the block."""
    before = dict(EXPORT_FORMATS)
    try:
        yield
    finally:
        EXPORT_FORMATS.clear()
        EXPORT_FORMATS.update(before)


def export(model: nn.Module, example_inputs: Any, path: str | Path, format: str = "pt2") -> Path:
    """Export a model to the format of another tool, and verify that the exported model computes the same outputs.

    The exported model is loaded and run on the example inputs. The outputs must equal those of `model` up to rounding.
    If anything fails, no file is written.

    Args:
        model: any module, pruned or not. It is exported in evaluation mode and not changed.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        path: the new file or directory. Missing parent directories are created.
        format: "pt2" (a program of `torch.export`), "huggingface" (a directory for `from_pretrained`), or the name of
            a format that was registered by `export_format`.

    Returns:
        The path.

    Raises:
        UsageError: the format does not exist.
        PersistError: the path exists already or cannot be written, the model cannot be exported, or the exported model
            computes other outputs.
        ModelError: the model is on the meta device.
        DataError: the example inputs contain no tensor.

    Example:
        >>> path = sc.export(model, example_inputs, "small.pt2")
        >>> loaded = torch.export.load(path).module()
        >>> torch.allclose(loaded(example_inputs), model.eval()(example_inputs), atol=1e-5)
        True
    """
    if format not in EXPORT_FORMATS:
        raise UsageError(f"unknown export format {format!r}: choose one of {', '.join(sorted(EXPORT_FORMATS))}")
    check_has_values(model, "export")
    path, call = Path(path), as_call(example_inputs).to(device_of(model))
    if path.exists():
        raise PersistError(f"{path} exists already: choose another path")
    try:
        with atomic_path(path) as temporary:
            with evaluating(model):
                runner = EXPORT_FORMATS[format].write(model, call.copy(), temporary)
            if runner is not None:
                _verify(runner, model, call)
    except PersistError:
        raise
    except Exception as error:  # exporters raise exceptions of many classes
        raise PersistError(
            f"{type(model).__name__} cannot be exported to {path} as {format}: {type(error).__name__}: {error}"
        ) from error
    return path


def _verify(runner: Runner, model: nn.Module, call: Call) -> None:
    """Compare the outputs of the exported model and the model.

    Raises:
        PersistError: the outputs differ by more than rounding.
    """
    inputs = call.copy()
    with rng(seed=0), torch.no_grad():
        exported = list(outputs_of(runner(*inputs.args, **inputs.kwargs)))
    if reason := difference(exported, run_model(model, call)):
        raise PersistError(f"the outputs of the exported {type(model).__name__} differ from the model: {reason}")
