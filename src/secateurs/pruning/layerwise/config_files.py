"""All files of a cut model but its weights: configurations, tokenizer, plan, and the model's own code."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from secateurs.budgets import Plan
from secateurs.errors import PersistError
from secateurs.persist import PLAN
from secateurs.structure import Structure
from secateurs.surgery import assign, cut, fit_config, rebuild, unsupported_widths


def cut_config(model: nn.Module, structure: Structure, plan: Plan) -> Any:
    """The configuration from which the model's class builds the cut model.

    Raises:
        PersistError: no configuration describes the cut model; the message names the groups, and what to do.
    """
    changes, failure = fit_config(model, structure, plan.widths)
    if failure:
        small = cut(rebuild(model, lambda name, tensor: tensor.to("meta")), structure.keep_masks(plan.keep))
        reasons = unsupported_widths(small, structure, plan.widths)
        raise PersistError(f"{type(model).__name__} has widths that from_pretrained cannot load: {'; '.join(reasons)}")
    holder = nn.Module()
    holder.config = copy.deepcopy(model.config)
    assign(holder, {"": dict(changes)})
    return holder.config


def write_config_files(directory: Path, model: nn.Module, config: Any, plan: Plan, source: str, processor: Any) -> None:
    """Write all files but the weights.

    Args:
        directory: the directory of the cut model.
        model: the dense model, whose generation configuration is copied.
        config: the configuration of the cut model.
        plan: the units that are kept.
        source: the directory of the dense model, whose Python files are copied.
        processor: the tokenizer or processor; None if there is none.

    Raises:
        PersistError: a file cannot be written.
    """
    try:
        config.save_pretrained(directory)
        generation = getattr(model, "generation_config", None)
        if generation is not None:
            generation.save_pretrained(directory)
        if processor is not None:
            processor.save_pretrained(directory)
    except Exception as error:  # the classes of other libraries may raise any error
        raise PersistError(f"{type(model).__name__} cannot be saved: {type(error).__name__}: {error}") from error
    for code in Path(source).glob("*.py"):
        shutil.copy(code, directory)
    plan.save(directory / PLAN)
