"""Imports of optional dependencies, with an error message that says which package to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from secateurs.errors import UsageError


def require(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: full name of the module, such as "transformers.utils.logging".
        extra: the extra of `secateurs` that installs the dependency, such as "hf".

    Returns:
        The imported module.

    Raises:
        UsageError: the module cannot be imported. The message contains the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(f"{name} is not installed: pip install 'secateurs[{extra}]' ({error})") from error
