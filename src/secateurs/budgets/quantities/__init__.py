"""The built-in quantities, one file each. A new file in this folder is imported without any other edit."""

from importlib import import_module
from pkgutil import iter_modules

from secateurs.budgets.quantity import QUANTITIES

for name in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{name}")

__all__ = ["QUANTITIES"]
