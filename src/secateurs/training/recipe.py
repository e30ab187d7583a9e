"""A recipe of fine-tuning, as data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from accelerate.utils import LoggerType
from pydantic import ConfigDict

from secateurs.errors import UsageError


@dataclass(frozen=True)
class Recovery:
    """How `finetune` trains. Fields are plain values: `dataclasses.asdict` gives JSON, and pydantic reads it, strictly.

    Attributes:
        epochs: passes over the data; with 0, `prune` recalibrates batch norm and trains nothing.
        lr: the learning rate, which `rate` and `warmup` scale.
        optimizer: "sgd" (with Nesterov momentum) or "adamw", which wants a smaller learning rate.
        weight_decay: of either.
        momentum: of "sgd".
        rate: how the learning rate falls: to zero along half a "cosine", to a tenth at each of the `milestones`
            ("step"), or not at all ("constant").
        milestones: rising fractions of the whole training, for "step": (0.6, 0.8) of 100 epochs are epochs 60 and 80.
        warmup: fraction of the whole training over which the learning rate rises from zero, linearly.
        distill: share of the loss that is the divergence from a teacher's outputs (Hinton et al. 2015, arXiv
            1503.02531), in [0, 1]; with 1, the data needs no targets.
        temperature: softens the outputs of both for that share.
        patience: stop after so many epochs without a better loss on validation data, and go back to the best epoch.
        accumulate: batches whose gradients make up one step of the optimiser, in their mean.
        mixed_precision: "bf16" or "fp16" (a GPU's) instead of the model's own; "no" by default.
        clip: the largest norm that the gradient of a step may have; longer ones are scaled down.
        lora: rank of adapters that are trained in the place of the weights, and merged into them in the end (Hu et al.
            2021, arXiv 2106.09685); 0 trains the weights.
        trackers: what follows the training, by its name in Accelerate, such as "tensorboard".

    Raises:
        UsageError: a value is not of these.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    epochs: int = 1
    lr: float = 0.01
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 5e-4
    momentum: float = 0.9
    rate: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[float, ...] = (0.6, 0.8)
    warmup: float = 0.0
    distill: float = 0.0
    temperature: float = 4.0
    patience: int | None = None
    accumulate: int = 1
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    clip: float | None = None
    lora: int = 0
    trackers: tuple[str, ...] = ()

    def __post_init__(self):
        for name, (fits, wanted) in _RULES.items():
            value = getattr(self, name)
            if not fits(value):
                raise UsageError(f"recovery {name} must be {wanted}, not {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _rising(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and all(_number(value) and 0 < value < 1 for value in values)
        and list(values) == sorted(set(values))
    )


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)


_TRACKERS = sorted(set(LoggerType.list()) - {"all"})

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda v: _whole(v, 0), "a number of epochs ≥ 0"),
    "lr": (_positive, "a positive learning rate"),
    "optimizer": _one_of("sgd", "adamw"),
    "weight_decay": (lambda v: _number(v) and v >= 0, "a number ≥ 0"),
    "momentum": (lambda v: _number(v) and 0 <= v < 1, "a number in [0, 1)"),
    "rate": _one_of("cosine", "step", "constant"),
    "milestones": (_rising, "a tuple of rising fractions in (0, 1)"),
    "warmup": (lambda v: _number(v) and 0 <= v < 1, "a fraction in [0, 1)"),
    "distill": (lambda v: _number(v) and 0 <= v <= 1, "a share in [0, 1]"),
    "temperature": (_positive, "a positive number"),
    "patience": (lambda v: v is None or _whole(v, 1), "a number of epochs ≥ 1, or None"),
    "accumulate": (lambda v: _whole(v, 1), "a number of batches ≥ 1"),
    "mixed_precision": _one_of("no", "bf16", "fp16"),
    "clip": (lambda v: v is None or _positive(v), "a positive number, or None"),
    "lora": (lambda v: _whole(v, 0), "a rank ≥ 0"),
    "trackers": (
        lambda v: isinstance(v, tuple) and all(isinstance(name, str) and name in _TRACKERS for name in v),
        f"a tuple of names among {', '.join(_TRACKERS)}",
    ),
}
