"""Saving a pruned model: a directory that is written whole or not at all."""

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
    """Write a pruned model to a new directory, whole or not at all.

    Args:
        directory: where to; its parents are made.
        model: the pruned model, trained on or not.
        plan: what was removed.
        attributes: see `secateurs.surgery.Cut`.
        criterion: what scored the units.
        overwrite: replace a model that was saved there before.

    Raises:
        PersistError: the directory exists (and is not a saved model that may be overwritten), or cannot be written.
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
    """A directory to write into, which takes its place when everything is written, or vanishes.

    Raises:
        PersistError: something cannot be written.
    """
    try:
        with atomic_path(directory) as work:
            work.mkdir()
            yield work
    except (OSError, PlanError, SafetensorError, KeyError, RuntimeError) as error:
        raise PersistError(f"the model cannot be saved to {directory}: {error}") from error


def check_free(directory: str | Path, overwrite: bool = False) -> Path:
    """The directory, links followed, if a model may be saved there.

    Raises:
        PersistError: something is there that is not a saved model, or is one and `overwrite` is not set.
    """
    directory = Path(directory).resolve()
    if not directory.exists():
        return directory
    if not overwrite:
        raise PersistError(f"{directory} exists already; choose another, or overwrite=True to replace a saved model")
    if not directory.is_dir() or {path.name for path in directory.iterdir()} - {WEIGHTS, PLAN, MANIFEST, PAGE}:
        raise PersistError(f"{directory} exists already; it is not a saved model, or holds more than one")
    read_manifest(directory)
    return directory


def _tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every parameter and buffer once, and second names."""
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
    return list(value) if isinstance(value, tuple) else value
