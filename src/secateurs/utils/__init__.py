"""Helpers that are independent of pruning: restoring model state, tables, figures, atomic writes, process groups."""

from secateurs.utils.atomic_write import atomic_path, atomic_write_text
from secateurs.utils.environment import environment
from secateurs.utils.figures import (
    COLOURS,
    INK,
    STYLE,
    WIDTH,
    colour,
    draw_heatmap,
    legend,
    marker,
    panels,
    render_svg,
    shorten,
)
from secateurs.utils.modules import check_has_values, copy_module, device_of, named_tensors, refuse_compiled
from secateurs.utils.process_group import barrier, is_first_process, is_single_process, is_writer, process_group
from secateurs.utils.progress import Progress, silent
from secateurs.utils.quantized import refuse_quantized, refuse_quantized_config
from secateurs.utils.require import require
from secateurs.utils.restore import batch_statistics, differentiating, evaluating, restoring_modes, rng
from secateurs.utils.tables import Number, Table, escape, format_mean, list_reasons, markdown, render
from secateurs.utils.warnings import warn_user

__all__ = [
    "COLOURS",
    "INK",
    "STYLE",
    "WIDTH",
    "Number",
    "Progress",
    "Table",
    "is_single_process",
    "batch_statistics",
    "colour",
    "device_of",
    "differentiating",
    "environment",
    "escape",
    "evaluating",
    "is_first_process",
    "draw_heatmap",
    "is_writer",
    "legend",
    "list_reasons",
    "markdown",
    "marker",
    "restoring_modes",
    "named_tensors",
    "check_has_values",
    "copy_module",
    "panels",
    "process_group",
    "refuse_compiled",
    "refuse_quantized",
    "refuse_quantized_config",
    "render",
    "require",
    "rng",
    "shorten",
    "silent",
    "format_mean",
    "render_svg",
    "barrier",
    "warn_user",
    "atomic_path",
    "atomic_write_text",
]
