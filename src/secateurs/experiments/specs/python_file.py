"""Load functions from Python files, without lasting changes of `sys.path` or of the names of other modules.

The name of the loaded module is derived from the full path of the file, so that two files called `model.py` do not
collide. This module stays in `sys.modules`, where pickle, dataclasses and type hints look it up.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from secateurs.errors import ModelError

_SIBLINGS: dict[Path, dict[str, ModuleType]] = defaultdict(dict)
"""Folder → name → module, for the modules that loaded files imported from their own folder; each is run once."""


def load_function(spec: str, purpose: str = "model") -> Callable[..., Any]:
    """Load the function named by "py:path/to/file.py:name". The file is run as Python code.

    While the file is run, and while the function is called, modules beside the file can be imported.

    Args:
        spec: the file and the name of a function or class.
        purpose: the purpose of the function, for error messages.

    Returns:
        A wrapper with the same arguments.

    Raises:
        ModelError: the spec has another form, the file or the function does not exist, or running the file fails.
    """
    prefix, _, rest = spec.partition(":")
    path, _, name = rest.rpartition(":")
    if prefix != "py" or not path or not name:
        raise ModelError(f"{purpose} {spec!r} is not of the form py:path/to/file.py:function")
    if not Path(path).is_file():
        raise ModelError(f"{purpose} {spec!r}: there is no file {path}")
    folder = Path(path).resolve().parent
    try:
        module = _run(Path(path).resolve())
    except (Exception, SystemExit) as error:
        raise ModelError(f"{purpose} {spec!r}: {path} cannot be run: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ModelError(f"{purpose} {spec!r}: {path} has no function or class {name!r}")

    @functools.wraps(function, updated=())
    def call(*args: Any, **options: Any) -> Any:
        with _importable(folder):  # the function may import modules when it is called
            return function(*args, **options)

    call.__module__ = Path(path).stem  # the record of a run contains this name, which must not depend on the folder
    return call


def _run(path: Path) -> ModuleType:
    """Run a file as a module under a name that no other file has."""
    name = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a .py file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make the modules of a folder importable within the context; restore `sys.path` and `sys.modules` afterwards."""
    if str(folder) in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.modules.update({name: module for name, module in _SIBLINGS[folder].items() if name not in before})
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        new = {name: module for name, module in sys.modules.items() if name not in before}
        packages = {name for name, module in new.items() if "." not in name and _lies_in(folder, module)}
        for name in new:
            if name.partition(".")[0] in packages:
                _SIBLINGS[folder][name] = sys.modules.pop(name)
        sys.path.remove(str(folder))


def _lies_in(folder: Path, module: ModuleType) -> bool:
    """Whether a module is a file or a package directly in the folder."""
    attributes = vars(module)  # getattr could trigger a lazy import
    paths = attributes.get("__path__") or [attributes.get("__file__") or ""]
    return any(Path(path).resolve().parent == folder for path in paths)
