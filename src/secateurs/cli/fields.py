"""Make command-line options from the fields of a `Job`: names, types, help texts and defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import click
from pydantic.fields import FieldInfo

from secateurs.budgets import Limits, Schedule
from secateurs.cli.types import FLOATS, INTEGERS, NUMBER
from secateurs.data import ImageOptions
from secateurs.experiments import Job
from secateurs.pruning import PruningConfig
from secateurs.training import Recovery

Path = tuple[str, ...]

SECTIONS: dict[Path, type[Any]] = {
    (): Job,
    ("config",): PruningConfig,
    ("config", "limits"): Limits,
    ("config", "schedule"): Schedule,
    ("config", "recovery"): Recovery,
    ("images",): ImageOptions,
}
"""Path of a field in `Job` → the class of the field, for each class whose own fields become options."""

BETWEEN = ("config", "between")
"""The training between rounds: only the number of epochs is an option; the rest of the recipe is the recovery's."""

EPOCHS = ("config", "recovery", "epochs")
"""The default of this option is 0, so that nothing is trained; the default of `Recovery` applies to recipes."""

NAMES = {
    ("training",): "train",
    ("shape",): "input",
    ("images", "size"): "image-size",
    ("config", "recovery", "trackers"): "tracker",
    BETWEEN: "epochs-between",
}
"""Path of a field → the name of the option, where it differs from the name of the field."""

TYPES: dict[Any, Any] = {
    int: click.INT,
    float: click.FLOAT,
    float | int: NUMBER,
    tuple[int, ...]: INTEGERS,
    tuple[float, ...]: FLOATS,
}
"""Type of a field → type of the option. Values of other types are passed as text, which the configuration parses."""


def parameters() -> Iterator[tuple[Path, click.Parameter]]:
    """Yield the path of each field with a plain value, and the parameter, whose value is None if the user omits it."""
    for section, cls in SECTIONS.items():
        for name, hint in get_type_hints(cls, include_extras=True).items():
            path = (*section, name)
            if path not in SECTIONS and path != BETWEEN and name in _field_names(cls):
                yield path, _parameter(path, hint, 0 if path == EPOCHS else _default(cls, name))
    text = with_default("Epochs of training after each round but the last.", 0)
    yield BETWEEN, click.Option([f"--{_flag(BETWEEN)}", dest(BETWEEN)], type=click.IntRange(0), help=text)


def dest(path: Path) -> str:
    """The name of the parameter of a field."""
    return "__".join(path)


def _field_names(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set(cls.model_fields)


def _default(cls: type[Any], name: str) -> Any:
    """The default value of a field; None if it has none."""
    if cls is PruningConfig:
        return getattr(PruningConfig(), name)
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _parameter(path: Path, hint: Any, default: Any) -> click.Parameter:
    """The option of a field, or the argument MODEL."""
    text = ""
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        text = next((extra.description or "" for extra in extras if isinstance(extra, FieldInfo)), "")
    if path == ("model",):
        return click.Argument([dest(path)], required=False, metavar="MODEL")
    kind = next(kind for kind in (get_args(hint) if NoneType in get_args(hint) else (hint,)) if kind is not NoneType)
    name, text = _flag(path), with_default(text, default)
    if kind is bool:
        return click.Option([f"--{name}/--no-{name}", dest(path)], default=None, help=text)
    if kind == tuple[str, ...]:
        return click.Option([f"--{name}", dest(path)], multiple=True, help=text)
    value = click.Choice(get_args(kind)) if get_origin(kind) is Literal else TYPES.get(kind, click.STRING)
    return click.Option([f"--{name}", dest(path)], type=value, help=text)


def with_default(text: str, default: Any) -> str:
    """Add a default value to a help text, in the form in which users type it.

    The default is not passed to click, since omitted options must have the value None.
    """
    shown = str(getattr(default, "name", default))
    if isinstance(default, bool):
        shown = "yes" if default else "no"
    elif isinstance(default, tuple):
        shown = ",".join(map(str, default))
    return text if default is None or shown == "" else f"{text}  [default: {shown}]".strip()


def _flag(path: Path) -> str:
    return NAMES.get(path, path[-1].replace("_", "-"))
