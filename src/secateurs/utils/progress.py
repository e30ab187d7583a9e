"""Progress reports of long operations. The library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""A function of (iterable, description) that returns the iterable and shows progress, such as `rich.progress.track`."""


def silent(items: Iterable[Any], description: str) -> Iterable[Any]:
    """A `Progress` function that shows nothing: returns the iterable unchanged."""
    return items
