"""The readers of specs. Every file of this folder is imported, and registers what it reads."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
