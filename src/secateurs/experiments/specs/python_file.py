"""Functions in files of Python code."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secateurs.errors import ModelError


def function(spec: str, what: str = "model") -> Callable[..., Any]:
    """The function named by "py:path/to/file.py:name". The file is run as Python code.

    Args:
        spec: names it.
        what: it is for, for messages.

    Raises:
        ModelError: the spec, the file or the function is not usable.
    """
    kind, _, rest = spec.partition(":")
    path, _, name = rest.rpartition(":")
    if kind != "py" or not path or not name:
        raise ModelError(f"{what} {spec!r} is not of the form py:path/to/file.py:function")
    if not Path(path).is_file():
        raise ModelError(f"{what} {spec!r}: there is no file {path}")
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:  # so that the file may import its neighbours, as if it were run
        sys.path.insert(0, folder)
    try:
        module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        module = importlib.util.module_from_spec(module_spec)  # type: ignore[arg-type]
        sys.modules.setdefault(Path(path).stem, module)  # dataclasses look their module up
        module_spec.loader.exec_module(module)  # type: ignore[union-attr]
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what} {spec!r}: {path} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ModelError(f"{what} {spec!r}: {path} has no function or class {name!r}")
    return found
