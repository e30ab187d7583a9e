"""The criteria of the library: one file per family. A new file needs no other edit."""

from importlib import import_module
from pkgutil import iter_modules


def load_families() -> None:
    """Import every file of this folder, so that its criteria are registered; files that are loaded stay as they are."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
