"""Optional dependencies: a missing one is an error that says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from secateurs.errors import UsageError


def require(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: the full name of the module.
        extra: the extra of the package `secateurs` that installs it.

    Returns:
        The module.

    Raises:
        UsageError: the module cannot be imported; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(f"{name} is not installed: pip install 'secateurs[{extra}]' ({error})") from error
