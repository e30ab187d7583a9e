"""Saving pruned models, and loading them back exactly, without pickle.

A saved model is a directory: `manifest.json` (what it is, and a digest of every file), `plan.json`, and
`model.safetensors`.  The dense class builds the skeleton; shapes, attributes and weights come from the directory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from secateurs.errors import PersistError, PlanError
from secateurs.plan import Plan
from secateurs.preserve import rng
from secateurs.surgery import Attributes, assign

FORMAT = 1
WEIGHTS, PLAN, MANIFEST = "model.safetensors", "plan.json", "manifest.json"


class Manifest(BaseModel):
    """What a saved model is.

    Attributes:
        format: version of the layout.
        secateurs, torch: versions that wrote it.
        model: the class of the model, for messages.
        criterion: what scored the units.
        attributes: attributes of modules that differ from the dense model's, per module name.
        aliases: tensors that are another one under a second name, and that one's name.
        training: whether the model was in training mode.
        sha256: digest of every file; that of the manifest itself is over its other content.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: int
    secateurs: str
    torch: str
    model: str
    criterion: str
    attributes: dict[str, dict[str, int | list[int]]]
    aliases: dict[str, str]
    training: bool
    sha256: dict[str, str]


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
    directory = Path(directory)
    if directory.exists() and not (overwrite and (directory / MANIFEST).is_file()):
        hint = "it is not a saved model" if overwrite else "choose another, or overwrite=True to replace a saved model"
        raise PersistError(f"{directory} exists already; {hint}")
    tensors, aliases = _tensors(model)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            work.chmod(0o755)
            safetensors.torch.save_file(tensors, work / WEIGHTS)
            plan.save(work / PLAN)
            manifest = Manifest(
                format=FORMAT,
                secateurs=version("secateurs"),
                torch=str(torch.__version__),
                model=type(model).__qualname__,
                criterion=criterion,
                attributes={m: {k: _plain(v) for k, v in its.items()} for m, its in attributes.items()},
                aliases=aliases,
                training=model.training,
                sha256={name: _digest(work / name) for name in (WEIGHTS, PLAN)},
            )
            manifest.sha256[MANIFEST] = _seal(manifest)
            (work / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
            _move(work, directory)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except (OSError, PlanError, SafetensorError) as error:
        raise PersistError(f"the model cannot be saved to {directory}: {error}") from error


def load(directory: str | Path, model: Callable[[], nn.Module]) -> nn.Module:
    """Load a pruned model.

    Args:
        directory: where `save` wrote it.
        model: builds the dense model, with any weights; called with nothing.

    Returns:
        The pruned model, on the CPU, in the mode it was saved in.

    Raises:
        PersistError: the directory is incomplete or was altered, or `model` builds another model.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    tensors.update({alias: tensors[name] for alias, name in manifest.aliases.items()})
    skeleton = _skeleton(model)
    _fill(skeleton, tensors, directory)
    try:
        assign(skeleton, {m: {k: _live(v) for k, v in its.items()} for m, its in manifest.attributes.items()})
    except AttributeError as error:
        raise PersistError(f"{directory} is of a {manifest.model}, not of what `model` builds: {error}") from error
    return skeleton.train(manifest.training)


def read_manifest(directory: str | Path) -> Manifest:
    """Read a saved model's manifest and check every file against it.

    Raises:
        PersistError: something is missing, unreadable or altered.
    """
    directory = Path(directory)
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST).read_text(encoding="utf-8"))
        digests = {MANIFEST: _seal(manifest), **{name: _digest(directory / name) for name in (WEIGHTS, PLAN)}}
        for name, digest in digests.items():
            if manifest.sha256.get(name) != digest:
                raise PersistError(f"{directory / name} is not the file that was saved: it was cut short or altered")
    except ValidationError as error:
        raise PersistError(f"{directory / MANIFEST} is not a manifest of this version: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PersistError(f"{directory} is not a complete saved model: {error}") from error
    if manifest.format != FORMAT:
        raise PersistError(f"{directory} has format {manifest.format}; this version of secateurs reads {FORMAT}")
    return manifest


def _tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every parameter and buffer once, and second names."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in _named(model):
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors, aliases


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def _skeleton(model: Callable[[], nn.Module]) -> nn.Module:
    """The dense model without weights where possible, with them where it holds tensors that are not saved."""
    with rng():
        try:
            with torch.device("meta"):
                skeleton = model()
            held = [v for m in skeleton.modules() for v in vars(m).values() if isinstance(v, Tensor)]
            if not held:
                return skeleton
        except Exception:  # some models compute with their weights while they are built; the next line tells
            pass
        skeleton = model()
    if not isinstance(skeleton, nn.Module):
        raise PersistError(f"`model` must build a torch.nn.Module, not a {type(skeleton).__name__}")
    return skeleton


def _fill(skeleton: nn.Module, tensors: dict[str, Tensor], directory: Path) -> None:
    """Put the saved tensors in the place of the skeleton's; both must have the same names."""
    names = {name for name, _ in _named(skeleton)}
    if names != set(tensors):
        missing, extra = sorted(names - set(tensors))[:5], sorted(set(tensors) - names)[:5]
        raise PersistError(
            f"{directory} is of another model: `model` builds one with {missing or 'nothing'} that was not saved, "
            f"and without {extra or 'nothing'} that was"
        )
    made: dict[int, Any] = {}
    for prefix, module in skeleton.named_modules():
        for table in (module._parameters, module._buffers):
            for key, old in table.items():
                if old is None:
                    continue
                new = tensors[f"{prefix}.{key}" if prefix else key]
                if old.ndim != new.ndim or any(n > o for n, o in zip(new.shape, old.shape, strict=True)):
                    raise PersistError(
                        f"{directory} is of another model: {prefix}.{key} has shape {list(new.shape)}, which cannot "
                        f"be cut from {list(old.shape)}"
                    )
                if id(new) not in made:
                    made[id(new)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                table[key] = made[id(new)]


def _move(work: Path, directory: Path) -> None:
    """Rename `work` to `directory`; a directory that is there is set aside first and removed last."""
    old = work.with_name(work.name + ".old")
    if directory.exists():
        os.rename(directory, old)
    try:
        os.rename(work, directory)
    except OSError:
        if old.exists():
            os.rename(old, directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def _seal(manifest: Manifest) -> str:
    others = {name: digest for name, digest in manifest.sha256.items() if name != MANIFEST}
    return hashlib.sha256(manifest.model_copy(update={"sha256": others}).model_dump_json().encode()).hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _live(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
