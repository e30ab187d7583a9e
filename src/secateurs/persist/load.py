"""Loading a pruned model: the dense class builds the skeleton, the directory says how it differs."""

from __future__ import annotations

import copy
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
from secateurs.utils import named_tensors, rng


def load(directory: str | Path, model: Callable[[], nn.Module]) -> nn.Module:
    """Load a pruned model that `Result.save` wrote.

    Args:
        directory: the directory that `Result.save` wrote.
        model: builds the dense model, with any weights; called with nothing. Layers that were dropped before may be
            gone already.

    Returns:
        The pruned model, on the CPU, its modules in the modes they were saved in.

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
        raise PersistError(f"{directory} is of another model than `model` builds: {error}") from error
    _fill(skeleton, tensors, directory)
    adapt_attention(skeleton)
    try:
        assign(skeleton, manifest.attributes)
    except AttributeError as error:
        raise PersistError(f"{directory} is of a {manifest.model}, not of what `model` builds: {error}") from error
    for name, module in skeleton.named_modules():
        module.training = name in manifest.training
    for name, parameter in skeleton.named_parameters():
        parameter.requires_grad_(name not in manifest.fixed)
    return skeleton


def _skeleton(model: Callable[[], nn.Module]) -> nn.Module:
    """The dense model without weights where possible, with them where it holds tensors that are not saved.

    It is a copy: the model may be handed out rather than built, and its configuration may be somebody else's too.
    """
    with rng():
        try:
            with torch.device("meta"):
                skeleton = model()
            if isinstance(skeleton, nn.Module) and not _holds_others(skeleton):
                return copy.deepcopy(skeleton)
        except Exception:  # some models compute with their weights while they are built; the next lines tell
            pass
        try:
            skeleton = model()
        except Exception as error:
            raise PersistError(
                "`model` must be a function without arguments that builds the dense model: "
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(skeleton, nn.Module):
        raise PersistError(f"`model` must build a torch.nn.Module, not a {type(skeleton).__name__}")
    return copy.deepcopy(skeleton)


def _holds_others(model: nn.Module) -> bool:
    """Whether modules hold tensors anywhere but among their parameters and buffers, or tensors that were not built."""
    others = [
        value
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in ("_parameters", "_buffers", "_modules")
    ]
    built = all(tensor.is_meta for _, tensor in named_tensors(model))
    return not built or any(isinstance(leaf, Tensor) for leaf in tree_leaves(others))


def _fill(skeleton: nn.Module, tensors: dict[str, Tensor], directory: Path) -> None:
    """Put the saved tensors in the place of the skeleton's; both must have the same names."""
    names = {name for name, _ in named_tensors(skeleton)}
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
