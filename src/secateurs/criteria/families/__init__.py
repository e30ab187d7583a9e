"""The built-in criteria, one file per family. A new file in this folder is loaded without any other edit."""

from importlib import import_module
from pkgutil import iter_modules


def load_families() -> None:
    """Import every file of this folder, which registers the criteria; a second call changes nothing."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
