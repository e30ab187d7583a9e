"""Saving of pruned transformers models for `from_pretrained`."""

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
"""Tolerance for equal weights. Kernels may round differently if the weights have another memory alignment."""


def save_pretrained(
    directory: str | Path, model: nn.Module, plan: Plan, structure: Structure, examples: Call, tokenizer: Any = None
) -> None:
    """Write a pruned model to a new directory that `from_pretrained` of the model's class can load.

    The directory also contains the generation configuration and the plan. The saved model is loaded for verification.
    It must have the same weights and compute the same outputs. If anything fails, no directory is written.

    Args:
        directory: the directory. Missing parent directories are created.
        model: the pruned model. It may have been trained after pruning.
        plan: the plan by which the model was pruned.
        structure: structure of the dense model.
        examples: arguments of the model on which outputs are compared.
        tokenizer: tokenizer or processor to save with the model.

    Raises:
        PersistError: the configuration cannot describe the widths (the message names them and a fix), the loaded model
            differs, or the directory exists or cannot be written.
        UsageError: the tokenizer cannot be saved.
    """
    if has_config(model) and (reasons := unsupported_widths(model, structure, plan.widths)):
        raise PersistError(
            f"{type(model).__name__} has widths that from_pretrained cannot load: {'; '.join(reasons)}. "
            "Or use result.save, which supports any widths"
        )
    write_pretrained(directory, model, examples, tokenizer, plan)


def write_pretrained(
    directory: str | Path, model: nn.Module, examples: Call, tokenizer: Any = None, plan: Plan | None = None
) -> None:
    """Write a model whose configuration describes all widths to a directory for `from_pretrained`.

    The saved model is loaded and verified as in `save_pretrained`, which also checks the widths.

    Args:
        directory: the directory. Missing parent directories are created.
        model: the model.
        examples: arguments of the model on which outputs are compared.
        tokenizer: tokenizer or processor to save with the model.
        plan: the plan to save with the model.

    Raises:
        PersistError: the loaded model differs, or the directory exists or cannot be written.
        UsageError: the tokenizer cannot be saved.
    """
    kind = type(model).__name__
    if not has_config(model) or not callable(getattr(model, "save_pretrained", None)):
        raise PersistError(f"{kind} is not a model of transformers: use result.save")
    if tokenizer is not None and not callable(getattr(tokenizer, "save_pretrained", None)):
        raise UsageError(f"the tokenizer or processor, a {type(tokenizer).__name__}, has no method save_pretrained")
    with model_directory(check_free(directory)) as work:
        try:
            with without_bars():
                model.save_pretrained(work)  # type: ignore[operator]
            if tokenizer is not None:
                tokenizer.save_pretrained(work)
        except Exception as error:  # classes of other libraries may raise any exception
            raise PersistError(f"{kind} cannot be saved: {type(error).__name__}: {error}") from error
        if plan is not None:
            plan.save(work / PLAN)
        _verify(model, work, examples.to(device_of(model)))


def _verify(model: nn.Module, directory: Path, examples: Call) -> None:
    """Check that the saved model can be loaded, has the same weights and computes the same outputs.

    Raises:
        PersistError: the saved model differs.
    """
    kind = type(model).__name__
    try:
        with rng(), without_bars():
            loaded = type(model).from_pretrained(directory).to(device_of(model))  # type: ignore[attr-defined]
    except Exception as error:  # classes of other libraries may raise any exception
        raise PersistError(
            f"from_pretrained of {kind} cannot load the saved model: {type(error).__name__}: {error}. Use result.save"
        ) from error
    loaded_tensors = loaded.state_dict()
    for name, tensor in model.state_dict().items():
        if (
            name not in loaded_tensors
            or loaded_tensors[name].dtype != tensor.dtype
            or not torch.equal(loaded_tensors[name], tensor)
        ):
            raise PersistError(f"from_pretrained of {kind} loads another value of {name}: use result.save")
    if reason := difference(run_model(loaded, examples), run_model(model, examples), EXACT):
        raise PersistError(
            f"from_pretrained of {kind} loads the same weights but computes other outputs ({reason}), because the "
            "configuration does not describe everything that changed: use result.save"
        )
