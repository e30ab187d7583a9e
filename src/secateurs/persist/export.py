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
from secateurs.utils import atomic_path, device_of, evaluating, need_values, rng

Runner = Callable[..., Any]
"""Runs what was exported, on the arguments of the model."""

Write = Callable[[nn.Module, Call, Path], Runner | None]
"""Writes a model to a path. Returns what runs the result, or None if the function has verified it already."""


@dataclass(frozen=True)
class ExportFormat:
    """A format that `export` can write.

    Attributes:
        name: the value of `export(format=...)`.
        summary: one line on what is written.
        write: the function that writes it.
    """

    name: str
    summary: str
    write: Write


EXPORT_FORMATS: dict[str, ExportFormat] = {}


def export_format(name: str) -> Callable[[Write], Write]:
    """Register a function as an export format of `export`, by name.

    The function takes the model (in evaluation mode), the example inputs as a `Call`, and the path to write to, which
    does not exist yet. It returns a callable that loads and runs the result on the arguments of the model, so that
    `export` can compare outputs; or None if it has verified the result itself. The first line of its docstring is the
    summary of the format.

    Args:
        name: the value of `export(format=...)`.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        UsageError: the name is taken, or the function has no docstring.

    Example:
        >>> from secateurs.persist import temporary_export_formats
        >>> with temporary_export_formats():  # undone at the end of the block
        ...     @sc.export_format("state")
        ...     def state(model, call, path):
        ...         "The state dict alone."
        ...         torch.save(model.state_dict(), path)
        ...     sc.export(model, example_inputs, "weights.pt", format="state").name
        'weights.pt'
    """
    if name in EXPORT_FORMATS:
        raise UsageError(f"the export format {name!r} exists already; give another name")

    def register(write: Write) -> Write:
        if not write.__doc__:
            raise UsageError(f"export format {name!r}: the function needs a docstring, whose first line is the summary")
        EXPORT_FORMATS[name] = ExportFormat(name, write.__doc__.strip().splitlines()[0], write)
        return write

    return register


@contextmanager
def temporary_export_formats() -> Iterator[None]:
    """Undo every registration of an export format made inside the block when it ends."""
    before = dict(EXPORT_FORMATS)
    try:
        yield
    finally:
        EXPORT_FORMATS.clear()
        EXPORT_FORMATS.update(before)


def export(model: nn.Module, example_inputs: Any, path: str | Path, format: str = "pt2") -> Path:
    """Write a model in the format of another tool, and verify that the result computes the same.

    The path is written whole or not at all. The result is loaded again and run on the example inputs; its outputs may
    differ from those of the model by rounding only.

    Args:
        model: any module, pruned or not; exported in evaluation mode, and not changed.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        path: of the new file or directory; its parents are made.
        format: "pt2" (a program of `torch.export`), "huggingface" (a directory for `from_pretrained`), or the name of
            a format that was registered by `export_format`.

    Returns:
        The path.

    Raises:
        UsageError: there is no such format.
        PersistError: the path exists already or cannot be written, the model cannot be exported, or the result
            computes something else.
        ModelError: the model is on the meta device.
        DataError: the example inputs hold no tensor.

    Example:
        >>> path = sc.export(model, example_inputs, "small.pt2")
        >>> loaded = torch.export.load(path).module()
        >>> torch.allclose(loaded(example_inputs), model.eval()(example_inputs), atol=1e-5)
        True
    """
    if format not in EXPORT_FORMATS:
        raise UsageError(f"there is no export format {format!r}; choose among {', '.join(sorted(EXPORT_FORMATS))}")
    need_values(model, "export")
    path, call = Path(path), as_call(example_inputs).to(device_of(model))
    if path.exists():
        raise PersistError(f"{path} exists already; choose another path")
    try:
        with atomic_path(path) as temporary:
            with evaluating(model):
                runner = EXPORT_FORMATS[format].write(model, call.copy(), temporary)
            if runner is not None:
                _verify(runner, model, call)
    except PersistError:
        raise
    except Exception as error:  # exporters raise whatever the operators of a model bring up
        raise PersistError(
            f"{type(model).__name__} cannot be exported to {path} as {format}: {type(error).__name__}: {error}"
        ) from error
    return path


def _verify(runner: Runner, model: nn.Module, call: Call) -> None:
    """Compare outputs.

    Raises:
        PersistError: they differ.
    """
    inputs = call.copy()
    with rng(seed=0), torch.no_grad():
        exported = list(outputs_of(runner(*inputs.args, **inputs.kwargs)))
    if reason := difference(exported, run_model(model, call)):
        raise PersistError(f"the exported {type(model).__name__} computes something else than the model: {reason}")
