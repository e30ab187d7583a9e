"""Saving pruned models as the transformers library does, for its own `from_pretrained` to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateurs.budgets import Plan
from secateurs.data import Call
from secateurs.errors import PersistError, UsageError
from secateurs.huggingface import without_bars
from secateurs.persist.manifest import PLAN
from secateurs.persist.save import check_free, model_directory
from secateurs.structure import Structure
from secateurs.surgery import TOLERANCE, difference, has_config, run_model, unsupported_widths
from secateurs.utils import device_of, rng

EXACT = {**TOLERANCE, torch.float32: 1e-5}
"""The weights are the same; but kernels round otherwise where they lie elsewhere."""


def save_pretrained(
    directory: str | Path, model: nn.Module, plan: Plan, structure: Structure, examples: Call, tokenizer: Any = None
) -> None:
    """Write a pruned model to a new directory that `from_pretrained` of its class loads, whole or not at all.

    The generation configuration goes along, and the plan. Before the directory gets its name the model is loaded from
    it, and must have the same weights and compute the same.

    Args:
        directory: where to; its parents are made.
        model: the pruned model, trained on or not.
        plan: what was removed.
        structure: of the dense model.
        examples: to compare outputs on.
        tokenizer: or processor, saved beside the model.

    Raises:
        PersistError: the class cannot express the widths (the message says which, and what to do), the model that
            comes back is another one, or the directory exists or cannot be written.
        UsageError: the tokenizer cannot be saved.
    """
    if has_config(model) and (reasons := unsupported_widths(model, structure, plan.widths)):
        raise PersistError(
            f"{type(model).__name__} has widths that from_pretrained cannot load: {'; '.join(reasons)}. "
            "Or use result.save, which keeps any widths"
        )
    write_pretrained(directory, model, examples, tokenizer, plan)


def write_pretrained(
    directory: str | Path, model: nn.Module, examples: Call, tokenizer: Any = None, plan: Plan | None = None
) -> None:
    """As `save_pretrained`, for a model whose configuration tells all there is to know, such as how many layers it has.

    Raises:
        PersistError: the model that comes back is another one, or the directory exists or cannot be written.
        UsageError: the tokenizer cannot be saved.
    """
    kind = type(model).__name__
    if not has_config(model) or not callable(getattr(model, "save_pretrained", None)):
        raise PersistError(f"{kind} is no model of transformers: save it by result.save")
    if tokenizer is not None and not callable(getattr(tokenizer, "save_pretrained", None)):
        raise UsageError(f"a tokenizer or processor has save_pretrained, which a {type(tokenizer).__name__} has not")
    with model_directory(check_free(directory)) as work:
        try:
            with without_bars():
                model.save_pretrained(work)  # type: ignore[operator]
            if tokenizer is not None:
                tokenizer.save_pretrained(work)
        except Exception as error:  # a library's class may raise anything
            raise PersistError(f"{kind} cannot be saved: {type(error).__name__}: {error}") from error
        if plan is not None:
            plan.save(work / PLAN)
        _check(model, work, examples.to(device_of(model)))


def _check(model: nn.Module, directory: Path, examples: Call) -> None:
    """See that the same model comes back.

    Raises:
        PersistError: it does not.
    """
    kind = type(model).__name__
    try:
        with rng(), without_bars():
            loaded = type(model).from_pretrained(directory).to(device_of(model))  # type: ignore[attr-defined]
    except Exception as error:  # a library's class may raise anything
        raise PersistError(f"{kind} does not load what it saved: {type(error).__name__}: {error}") from error
    loaded_tensors = loaded.state_dict()
    for name, tensor in model.state_dict().items():
        if (
            name not in loaded_tensors
            or loaded_tensors[name].dtype != tensor.dtype
            or not torch.equal(loaded_tensors[name], tensor)
        ):
            raise PersistError(f"{kind} comes back from from_pretrained with another {name}: use result.save")
    if why := difference(run_model(loaded, examples), run_model(model, examples), EXACT):
        raise PersistError(
            f"{kind} comes back from from_pretrained with these weights, but computes something else ({why}), as its "
            "configuration does not tell all that changed: use result.save"
        )
