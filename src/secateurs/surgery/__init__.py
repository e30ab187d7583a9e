"""Removing units physically, with verification."""

from secateurs.surgery.apply import Cut, apply, operate, warn_of
from secateurs.surgery.compensate import Compensation, compensate, losers_of, needs, take_over
from secateurs.surgery.config import configured, fitted
from secateurs.surgery.config_support import untellable, untold
from secateurs.surgery.config_widths import taken
from secateurs.surgery.cut import cut, rebuild
from secateurs.surgery.depth_config import adopt, depth_changes
from secateurs.surgery.dropped_layers import Dropped, drop, drop_again, dropped
from secateurs.surgery.inplace import check_bare, replacing
from secateurs.surgery.layer_lists import container, containers, without
from secateurs.surgery.multihead_attention import adapt
from secateurs.surgery.optimizer_state import apply_, carry_optimizer, check_optimizer, put_in_place
from secateurs.surgery.stale_attributes import Attributes, assign, merged
from secateurs.surgery.verify import TOLERANCE, difference, in_double, run

__all__ = [
    "TOLERANCE",
    "Attributes",
    "Compensation",
    "Cut",
    "Dropped",
    "adapt",
    "adopt",
    "apply",
    "apply_",
    "assign",
    "carry_optimizer",
    "check_bare",
    "check_optimizer",
    "compensate",
    "configured",
    "container",
    "containers",
    "cut",
    "depth_changes",
    "difference",
    "drop",
    "drop_again",
    "dropped",
    "fitted",
    "in_double",
    "losers_of",
    "merged",
    "needs",
    "operate",
    "put_in_place",
    "rebuild",
    "replacing",
    "run",
    "take_over",
    "taken",
    "untellable",
    "untold",
    "warn_of",
    "without",
]
