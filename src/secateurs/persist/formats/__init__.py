"""The built-in export formats, one file per format. All files of this directory are imported."""

from importlib import import_module
from pkgutil import iter_modules

from secateurs.persist.export import EXPORT_FORMATS

for name in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{name}")

__all__ = ["EXPORT_FORMATS"]
