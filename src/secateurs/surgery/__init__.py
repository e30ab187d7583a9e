"""Removing units physically, with verification."""

from secateurs.surgery.adapt import adapt
from secateurs.surgery.apply import Cut, apply, operate, warn_of
from secateurs.surgery.attributes import Attributes, assign, merged
from secateurs.surgery.config import configured
from secateurs.surgery.further import Further, cut_further
from secateurs.surgery.inplace import check_bare, replacing
from secateurs.surgery.untold import untellable, untold
from secateurs.surgery.verify import TOLERANCE, difference, run
from secateurs.surgery.widths import taken

__all__ = [
    "TOLERANCE", "Attributes", "Cut", "Further", "adapt", "apply", "assign", "check_bare", "configured", "cut_further",
    "difference", "merged", "operate", "replacing", "run", "taken", "untellable", "untold",
    "warn_of",
]  # fmt: skip
