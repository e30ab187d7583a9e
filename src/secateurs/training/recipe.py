"""The fine-tuning recipe and the validation of its fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from secateurs.errors import UsageError
from secateurs.utils import require


@dataclass(frozen=True)
class Recovery:
    """A recipe for `finetune`: epochs, optimiser, learning rate schedule, distillation and further options.

    A recipe converts to JSON and back with `pydantic.TypeAdapter(Recovery)`, which refuses unknown keys. The options of
    the command line are generated from the fields.

    Raises:
        UsageError: a field has a value of the wrong type or out of range.

    Example:
        >>> recipe = sc.Recovery(epochs=5, lr=0.01, lr_schedule="cosine", warmup=0.1)
        >>> recipe.optimizer
        'sgd'
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    epochs: Annotated[int, Field(description="Passes over the training data.")] = 1
    lr: Annotated[float, Field(description="Peak learning rate, which `warmup` and `lr_schedule` scale.")] = 0.01
    optimizer: Annotated[
        Literal["sgd", "adamw"],
        Field(description="sgd (with Nesterov momentum) or adamw, which needs a smaller learning rate."),
    ] = "sgd"
    weight_decay: Annotated[float, Field(description="Weight decay of the optimiser.")] = 5e-4
    momentum: Annotated[float, Field(description="Momentum of sgd, in [0, 1).")] = 0.9
    lr_schedule: Annotated[
        Literal["cosine", "step", "constant"],
        Field(
            description="Decay of the learning rate: to zero along half a cosine, by a factor of ten at each of the "
            "`milestones` (step), or none (constant)."
        ),
    ] = "cosine"
    milestones: Annotated[
        tuple[float, ...],
        Field(description="For the step schedule: rising fractions of the whole training, such as (0.6, 0.8)."),
    ] = (0.6, 0.8)
    warmup: Annotated[
        float,
        Field(description="Fraction of the whole training over which the learning rate rises linearly from zero."),
    ] = 0.0
    distill_weight: Annotated[
        float,
        Field(
            description="Weight in [0, 1] of the distillation loss against the dense model's outputs (Hinton et al. "
            "2015, arXiv 1503.02531); with 1 the data needs no targets."
        ),
    ] = 0.0
    temperature: Annotated[
        float, Field(description="Softmax temperature of student and teacher in the distillation loss.")
    ] = 4.0
    patience: Annotated[
        int | None,
        Field(
            description="Stop after this many epochs without a better validation loss and restore the best epoch; "
            "None trains all epochs."
        ),
    ] = None
    grad_accumulation: Annotated[
        int, Field(description="Batches whose gradients are averaged for one optimiser step.")
    ] = 1
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"],
        Field(description="Autocast precision: bf16, fp16 (GPU only), or no for the model's own."),
    ] = "no"
    clip: Annotated[
        float | None, Field(description="Largest norm of the gradient; a longer gradient is scaled down.")
    ] = None
    lora: Annotated[
        int,
        Field(
            description="Rank of LoRA adapters that are trained instead of the weights and merged into them at the "
            "end (Hu et al. 2021, arXiv 2106.09685); 0 trains the weights."
        ),
    ] = 0
    trackers: Annotated[
        tuple[str, ...], Field(description="Experiment trackers by their names in Accelerate, such as tensorboard.")
    ] = ()

    def __post_init__(self):
        for name, (valid, requirement) in _RULES.items():
            value = getattr(self, name)
            if not valid(value):
                raise UsageError(f"recovery {name} must be {requirement}, not {value!r}")
        if unknown := set(self.trackers) - set(_known_trackers() if self.trackers else ()):
            raise UsageError(
                f"recovery trackers must be a tuple of names among {', '.join(_known_trackers())}, not "
                f"{self.trackers!r}: unknown {', '.join(sorted(unknown))}"
            )


def _is_number(value: Any) -> bool:
    """Whether the value is a finite int or float (and not a bool)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any, least: int) -> bool:
    """Whether the value is an int (and not a bool) of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_positive(value: Any) -> bool:
    """Whether the value is a finite number > 0."""
    return _is_number(value) and value > 0


def _are_rising_fractions(values: Any) -> bool:
    """Whether the values are a strictly increasing tuple of numbers in (0, 1)."""
    return (
        isinstance(values, tuple)
        and all(_is_number(value) and 0 < value < 1 for value in values)
        and list(values) == sorted(set(values))
    )


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    """Make the rule of a field whose value must be one of the names."""
    return lambda value: isinstance(value, str) and value in names, "one of " + ", ".join(names)


def _known_trackers() -> list[str]:
    """Names of the experiment trackers of Accelerate."""
    require("accelerate", "train")
    from accelerate.utils import LoggerType

    return sorted(set(LoggerType.list()) - {"all"})


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (lambda v: _is_integer(v, 1), "a number of epochs ≥ 1"),
    "lr": (_is_positive, "a positive learning rate"),
    "optimizer": _one_of("sgd", "adamw"),
    "weight_decay": (lambda v: _is_number(v) and v >= 0, "a number ≥ 0"),
    "momentum": (lambda v: _is_number(v) and 0 <= v < 1, "a number in [0, 1)"),
    "lr_schedule": _one_of("cosine", "step", "constant"),
    "milestones": (_are_rising_fractions, "a tuple of rising fractions in (0, 1)"),
    "warmup": (lambda v: _is_number(v) and 0 <= v < 1, "a fraction in [0, 1)"),
    "distill_weight": (lambda v: _is_number(v) and 0 <= v <= 1, "a weight in [0, 1]"),
    "temperature": (_is_positive, "a positive number"),
    "patience": (lambda v: v is None or _is_integer(v, 1), "a number of epochs ≥ 1, or None"),
    "grad_accumulation": (lambda v: _is_integer(v, 1), "a number of batches ≥ 1"),
    "mixed_precision": _one_of("no", "bf16", "fp16"),
    "clip": (lambda v: v is None or _is_positive(v), "a positive number, or None"),
    "lora": (lambda v: _is_integer(v, 0), "a rank ≥ 0"),
    "trackers": (
        lambda v: isinstance(v, tuple) and all(isinstance(name, str) for name in v),
        "a tuple of names of trackers",
    ),
}
"""By field: a predicate that accepts valid values, and a description of these for the error message."""
