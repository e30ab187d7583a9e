"""The readers of specs: every file of this folder is imported here, and registers a reader."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
