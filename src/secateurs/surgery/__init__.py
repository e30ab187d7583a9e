"""Removing units physically, with verification."""

from secateurs.surgery.apply import Cut, apply, apply_and_report, warn_of
from secateurs.surgery.compensate import (
    Compensation,
    affected_weights,
    compensate,
    compensate_weights,
    compensation_statistics,
)
from secateurs.surgery.config import fit_config, has_config
from secateurs.surgery.config_support import unsupported_groups, unsupported_widths
from secateurs.surgery.config_widths import supported_widths
from secateurs.surgery.cut import cut, rebuild
from secateurs.surgery.depth_config import adopt, depth_changes
from secateurs.surgery.dropped_layers import Dropped, drop, drop_again, dropped
from secateurs.surgery.inplace import check_bare, replacing
from secateurs.surgery.layer_lists import container, containers, without
from secateurs.surgery.multihead_attention import adapt_attention
from secateurs.surgery.optimizer_state import apply_, carry_optimizer, check_optimizer, put_in_place
from secateurs.surgery.stale_attributes import Attributes, assign, merge_attributes
from secateurs.surgery.verify import TOLERANCE, difference, in_double, run_model

__all__ = [
    "TOLERANCE",
    "Attributes",
    "Compensation",
    "Cut",
    "Dropped",
    "adapt_attention",
    "adopt",
    "apply",
    "apply_",
    "assign",
    "carry_optimizer",
    "check_bare",
    "check_optimizer",
    "compensate",
    "has_config",
    "container",
    "containers",
    "cut",
    "depth_changes",
    "difference",
    "drop",
    "drop_again",
    "dropped",
    "fit_config",
    "in_double",
    "affected_weights",
    "merge_attributes",
    "compensation_statistics",
    "apply_and_report",
    "put_in_place",
    "rebuild",
    "replacing",
    "run_model",
    "compensate_weights",
    "supported_widths",
    "unsupported_groups",
    "unsupported_widths",
    "warn_of",
    "without",
]
