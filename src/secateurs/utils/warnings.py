"""Warnings that point at the line of the user's program which called the library."""

from __future__ import annotations

import inspect
import warnings
from types import FrameType

from secateurs.errors import SecateursWarning

INTERNAL = frozenset({"secateurs", "torch", "contextlib"})
"""Packages whose frames are skipped: the library, and what its decorators and modes put between two of its frames."""


def warn_user(message: str, category: type[SecateursWarning] = SecateursWarning) -> None:
    """Warn at the innermost line outside the library that led here, however deep in the library this is called."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None and _is_internal(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in INTERNAL
