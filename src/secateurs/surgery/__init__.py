"""Removing units physically, with verification."""

from secateurs.surgery.adapt import adapt
from secateurs.surgery.apply import Cut, apply, operate
from secateurs.surgery.attributes import Attributes, assign

__all__ = ["Attributes", "Cut", "adapt", "apply", "assign", "operate"]
