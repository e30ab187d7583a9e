"""Functions in Python files, loaded without a lasting change of `sys.path` or of the names of modules.

A file is loaded under a module name of its own, made of its full path, so that two files called `model.py` do not
collide. That one module stays in `sys.modules`, where pickle, dataclasses and type hints look it up.
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
"""Modules that files imported from their own folder, by folder and name, so that each is run once."""


def load_function(spec: str, purpose: str = "model") -> Callable[..., Any]:
    """Load the function named by "py:path/to/file.py:name". The file is run as Python code.

    While the file is run, and while the function is called, modules beside the file can be imported.

    Args:
        spec: names the function, or a class.
        purpose: of the function, for messages.

    Returns:
        A function that takes the arguments of the one in the file.

    Raises:
        ModelError: the spec is not of this form, there is no such file or function, or running the file fails.
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

    call.__module__ = Path(path).stem  # a run is recognised by this name, wherever its folder lies
    return call


def _run(path: Path) -> ModuleType:
    """Run a file as a module under a name that no other file has."""
    name = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a .py file")
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
    """Let modules of a folder be imported; afterwards their names, and `sys.path`, are as they were."""
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
    """Whether a module is a file or a package of the folder itself."""
    attributes = vars(module)  # getattr could import more
    places = attributes.get("__path__") or [attributes.get("__file__") or ""]
    return any(Path(place).resolve().parent == folder for place in places)
