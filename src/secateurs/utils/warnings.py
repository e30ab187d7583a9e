"""Warnings whose location is the line of the user's program that called the library."""

from __future__ import annotations

import inspect
import warnings
from types import FrameType

from secateurs.errors import SecateursWarning

INTERNAL = frozenset({"secateurs", "torch", "contextlib"})
"""Packages whose stack frames are skipped: the library, and packages that appear between frames of the library."""


def warn_user(message: str, category: type[SecateursWarning] = SecateursWarning) -> None:
    """Issue a warning at the innermost line of the call stack that is outside the library.

    Args:
        message: text of the warning.
        category: class of the warning.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None and _is_internal(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(frame: FrameType) -> bool:
    """Whether the frame belongs to the library or to a package that is skipped."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in INTERNAL
