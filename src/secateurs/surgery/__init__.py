"""Surgery: remove units from a model, verify the result, and compensate with the remaining units."""

from secateurs.surgery.apply import Cut, apply, apply_and_report, warn_put_back
from secateurs.surgery.apply_inplace import apply_, put_in_place
from secateurs.surgery.compensate import Compensation, compensate, compensation_statistics
from secateurs.surgery.compensate_weights import affected_weights, compensate_weights
from secateurs.surgery.config import fit_config, has_config
from secateurs.surgery.config_support import unsupported_groups, unsupported_widths
from secateurs.surgery.config_widths import supported_widths
from secateurs.surgery.cut import cut, rebuild
from secateurs.surgery.depth_config import adopt_config, depth_changes
from secateurs.surgery.dropped_layers import Dropped, drop, drop_again, dropped
from secateurs.surgery.inplace import check_unwrapped, replacing
from secateurs.surgery.layer_lists import container, containers, without_layers
from secateurs.surgery.multihead_attention import adapt_attention
from secateurs.surgery.optimizer_state import carry_optimizer, check_optimizer
from secateurs.surgery.stale_attributes import Attributes, assign, merge_attributes
from secateurs.surgery.verify import TOLERANCE, difference, in_double, run_model

__all__ = [
    "TOLERANCE",
    "Attributes",
    "Compensation",
    "Cut",
    "Dropped",
    "adapt_attention",
    "adopt_config",
    "apply",
    "apply_",
    "assign",
    "carry_optimizer",
    "check_unwrapped",
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
    "warn_put_back",
    "without_layers",
]
