"""Match names and patterns of modules and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from secateurs.errors import NoMatchError
from secateurs.utils import named_tensors


def matching(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """Each parameter and buffer that a pattern matches, itself or by a module that contains it, with the pattern.

    Args:
        model: any module.
        patterns: names or patterns (`*`, `?`, `[...]`) of modules, parameters or buffers.

    Raises:
        NoMatchError: a pattern matches nothing.
    """
    modules = [name for name, _ in model.named_modules() if name]
    tensors = [name for name, _ in named_tensors(model)]
    matches: dict[str, str] = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise NoMatchError(f"keep: {pattern!r} is not a name or pattern")
        inside = tuple(f"{name}." for name in modules if fnmatchcase(name, pattern))
        matched = [name for name in tensors if fnmatchcase(name, pattern) or name.startswith(inside)]
        if not inside and not matched:
            raise NoMatchError(
                f"keep: {pattern!r} matches no module or parameter of {type(model).__name__}; "
                f"its modules are: {', '.join(modules[:20])}{' ...' if len(modules) > 20 else ''}"
            )
        matches.update((name, pattern) for name in matched if name not in matches)
    return matches
