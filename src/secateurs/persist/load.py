"""Loading of a saved pruned model: a dense skeleton receives the saved tensors and attributes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from secateurs.errors import PersistError, PlanError
from secateurs.persist.manifest import WEIGHTS, read_manifest
from secateurs.surgery import adapt_attention, assign, drop_again
from secateurs.utils import copy_module, named_tensors, rng


def load(directory: str | Path, model: Callable[[], nn.Module]) -> nn.Module:
    """Load a pruned model that `Result.save` wrote.

    Args:
        directory: the directory that `Result.save` wrote.
        model: a function without arguments that builds the dense model. The weights do not matter. The model may have
            all layers, or lack layers that were dropped before pruning.

    Returns:
        The pruned model on the CPU. Every module is in the mode (training or evaluation) in which it was saved.

    Raises:
        PersistError: the directory is incomplete or was altered, or `model` builds another model.

    Example:
        >>> result = sc.prune(model, data, criterion="l2", budget="keep:0.5")
        >>> result.save("small")
        >>> loaded = sc.load("small", lambda: model)
        >>> torch.equal(loaded.eval()(example_inputs), result.model.eval()(example_inputs))
        True
    """
    manifest = read_manifest(directory)
    directory = Path(directory)
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    tensors.update({alias: tensors[name] for alias, name in manifest.aliases.items()})
    try:
        skeleton = drop_again(_skeleton(model), manifest.dropped)
    except PlanError as error:
        raise PersistError(f"{directory} contains another model than `model` builds: {error}") from error
    _fill(skeleton, tensors, directory)
    adapt_attention(skeleton)
    try:
        assign(skeleton, manifest.attributes)
    except AttributeError as error:
        raise PersistError(
            f"{directory} contains a {manifest.model}, which differs from the model that `model` builds: {error}"
        ) from error
    for name, module in skeleton.named_modules():
        module.training = name in manifest.training
    for name, parameter in skeleton.named_parameters():
        parameter.requires_grad_(name not in manifest.fixed)
    return skeleton


def _skeleton(model: Callable[[], nn.Module]) -> nn.Module:
    """Build the dense model on the meta device, or on the CPU if it has tensors that are not saved.

    The skeleton is a copy, because `model` may return an existing object or share the configuration with one.
    """
    with rng():
        try:
            with torch.device("meta"):
                skeleton = model()
            if isinstance(skeleton, nn.Module) and not _has_unsaved_tensors(skeleton):
                return copy_module(skeleton)
        except Exception:  # some constructors compute with weights; real errors are raised by the second attempt
            pass
        try:
            skeleton = model()
        except Exception as error:
            raise PersistError(
                "`model` must be a function without arguments that builds the dense model, but it failed: "
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(skeleton, nn.Module):
        raise PersistError(f"`model` must build a torch.nn.Module, not a {type(skeleton).__name__}")
    return copy_module(skeleton)


def _has_unsaved_tensors(model: nn.Module) -> bool:
    """Whether a model has tensors that are neither parameters nor buffers, or parameters off the meta device."""
    attributes = [
        value
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in ("_parameters", "_buffers", "_modules")
    ]
    on_meta = all(tensor.is_meta for _, tensor in named_tensors(model))
    return not on_meta or any(isinstance(leaf, Tensor) for leaf in tree_leaves(attributes))


def _fill(skeleton: nn.Module, tensors: dict[str, Tensor], directory: Path) -> None:
    """Replace the parameters and buffers of the skeleton by the saved tensors. Both must have the same names."""
    names = {name for name, _ in named_tensors(skeleton)}
    if names != set(tensors):
        missing, extra = sorted(names - set(tensors))[:5], sorted(set(tensors) - names)[:5]
        raise PersistError(
            f"{directory} contains another model than `model` builds. Tensors that were not saved: "
            f"{missing or 'none'}. Saved tensors that the model lacks: {extra or 'none'}"
        )
    assigned: dict[int, Any] = {}
    for prefix, module in skeleton.named_modules():
        for table in (module._parameters, module._buffers):
            for key, old in table.items():
                if old is None:
                    continue
                new = tensors[f"{prefix}.{key}" if prefix else key]
                if old.ndim != new.ndim or any(n > o for n, o in zip(new.shape, old.shape, strict=True)):
                    raise PersistError(
                        f"{directory} contains another model than `model` builds: {prefix}.{key} has shape "
                        f"{list(new.shape)}, which cannot be cut from {list(old.shape)}"
                    )
                if id(new) not in assigned:
                    assigned[id(new)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                table[key] = assigned[id(new)]
