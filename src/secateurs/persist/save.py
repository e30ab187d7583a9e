"""Saving of a pruned model to a directory, which is written completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from secateurs.budgets import Plan
from secateurs.errors import PersistError, PlanError
from secateurs.persist.manifest import FORMAT, MANIFEST, PAGE, PLAN, WEIGHTS, Manifest, digest, read_manifest, seal
from secateurs.surgery import Attributes, dropped
from secateurs.utils import atomic_path, named_tensors


def save(
    directory: str | Path, model: nn.Module, plan: Plan, attributes: Attributes, criterion: str, overwrite: bool = False
) -> None:
    """Write a pruned model to a new directory, completely or not at all.

    Args:
        directory: the directory. Missing parent directories are created.
        model: the pruned model. It may have been trained after pruning.
        plan: the plan by which the model was pruned.
        attributes: by module name, the attributes whose values differ from the dense model (`Cut.attributes`).
        criterion: name of the criterion that scored the units.
        overwrite: replace a saved model in the directory.

    Raises:
        PersistError: the directory exists, and is not a saved model or `overwrite` is not set; or it cannot be
            written.
    """
    tensors, aliases = _tensors(model)
    with model_directory(check_free(directory, overwrite)) as work:
        safetensors.torch.save_file(tensors, work / WEIGHTS)
        plan.save(work / PLAN)
        manifest = Manifest(
            format=FORMAT,
            secateurs=version("secateurs"),
            torch=str(torch.__version__),
            model=type(model).__qualname__,
            criterion=criterion,
            dropped=dropped(model),
            attributes={m: {k: _plain(v) for k, v in values.items()} for m, values in attributes.items()},
            aliases=aliases,
            training=[name for name, module in model.named_modules() if module.training],
            fixed=[name for name, parameter in model.named_parameters() if not parameter.requires_grad],
            sha256={name: digest(work / name) for name in (WEIGHTS, PLAN)},
        )
        manifest.sha256[MANIFEST] = seal(manifest)
        (work / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


@contextmanager
def model_directory(directory: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `directory` at the end of the block, or is deleted if the block fails.

    Raises:
        PersistError: a file cannot be written.
    """
    try:
        with atomic_path(directory) as work:
            work.mkdir()
            yield work
    except (OSError, PlanError, SafetensorError, KeyError, RuntimeError) as error:
        raise PersistError(f"the model cannot be saved to {directory}: {error}") from error


def check_free(directory: str | Path, overwrite: bool = False) -> Path:
    """Check that a model may be saved to a directory.

    Args:
        directory: the directory.
        overwrite: whether a saved model in the directory may be replaced.

    Returns:
        The absolute path with symbolic links resolved.

    Raises:
        PersistError: the directory exists, and is not a saved model or `overwrite` is not set.
    """
    directory = Path(directory).resolve()
    if not directory.exists():
        return directory
    if not overwrite:
        raise PersistError(
            f"{directory} exists already: choose another directory, or set overwrite=True to replace a saved model"
        )
    if not directory.is_dir() or {path.name for path in directory.iterdir()} - {WEIGHTS, PLAN, MANIFEST, PAGE}:
        raise PersistError(
            f"{directory} exists already and is not a saved model, or contains other files: choose another directory"
        )
    read_manifest(directory)
    return directory


def _tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Collect every parameter and buffer once, by the first name; and the first name of every other name."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors, aliases


def _plain(value: Any) -> Any:
    """Convert a tuple to a list, as JSON does."""
    return list(value) if isinstance(value, tuple) else value
