"""Match names and patterns of modules and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from secateurs.errors import NoMatchError
from secateurs.utils import named_tensors


def matching(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """Find the parameters and buffers that match a pattern, or that are inside a module that matches a pattern.

    Args:
        model: any module.
        patterns: names or patterns (`*`, `?`, `[...]`) of modules, parameters or buffers.

    Returns:
        Name of the parameter or buffer to the first matching pattern.

    Raises:
        NoMatchError: a pattern matches nothing.
    """
    modules = [name for name, _ in model.named_modules() if name]
    tensors = [name for name, _ in named_tensors(model)]
    matches: dict[str, str] = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise NoMatchError(f"keep must contain names or patterns, not {pattern!r}")
        inside = tuple(f"{name}." for name in modules if fnmatchcase(name, pattern))
        matched = [name for name in tensors if fnmatchcase(name, pattern) or name.startswith(inside)]
        if not inside and not matched:
            raise NoMatchError(
                f"keep: {pattern!r} matches no module or parameter of {type(model).__name__}, which has the modules "
                f"{', '.join(modules[:20])}{' ...' if len(modules) > 20 else ''}"
            )
        matches.update((name, pattern) for name in matched if name not in matches)
    return matches
