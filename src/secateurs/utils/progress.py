"""How long work reports where it is: the library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps an iterable, with a description, in something that shows its progress (such as `rich.progress.track`)."""


def silent(items: Iterable[Any], description: str) -> Iterable[Any]:
    """The iterable as it is."""
    return items
