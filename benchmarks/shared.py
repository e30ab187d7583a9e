"""The data and weights of ../shared, or of the folder that SECATEURS_DATA names (see ../shared/DATA.md)."""

from __future__ import annotations

import os
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from secateurs.errors import DataError

SHARED = Path(os.environ.get("SECATEURS_DATA") or Path(__file__).parents[2] / "shared" / "data")


def check() -> None:
    """See that the data is there.

    Raises:
        DataError: it is not.
    """
    if not (SHARED / "load.py").exists():
        raise DataError(
            f"there is no data in {SHARED}: set SECATEURS_DATA to the folder that has load.py, cifar10 and weights"
        )


@cache
def load() -> SimpleNamespace:
    """What reads the images there: `cifar10`, `mnist` and `imagenet_sample`.

    Raises:
        DataError: see `check`.
    """
    check()
    return SimpleNamespace(**runpy.run_path(str(SHARED / "load.py")))
