"""Removing units physically, with verification."""

from secateurs.surgery.adapt import adapt
from secateurs.surgery.apply import Cut, apply, operate, warn_of
from secateurs.surgery.attributes import Attributes, assign
from secateurs.surgery.further import Further, cut_further
from secateurs.surgery.inplace import check_bare, replacing

__all__ = [
    "Attributes", "Cut", "Further", "adapt", "apply", "assign", "check_bare", "cut_further", "operate", "replacing",
    "warn_of",
]  # fmt: skip
