"""What knows nothing of pruning: restoring a model's state, tables, figures, atomic writes, processes."""

from secateurs.utils.atomic_write import whole, write_whole
from secateurs.utils.environment import environment
from secateurs.utils.figures import COLOURS, INK, STYLE, WIDTH, colour, heat, legend, marker, panels, short, svg
from secateurs.utils.modules import device_of, named_tensors, need_values
from secateurs.utils.process_group import alone, first, leads, processes, wait
from secateurs.utils.progress import Progress, silent
from secateurs.utils.quantized import refuse_quantised, refuse_quantised_config
from secateurs.utils.restore import batch_statistics, differentiating, evaluating, modes, rng
from secateurs.utils.tables import Number, Table, escape, listed, markdown, render, spread

__all__ = [
    "COLOURS",
    "INK",
    "STYLE",
    "WIDTH",
    "Number",
    "Progress",
    "Table",
    "alone",
    "batch_statistics",
    "colour",
    "device_of",
    "differentiating",
    "environment",
    "escape",
    "evaluating",
    "first",
    "heat",
    "leads",
    "legend",
    "listed",
    "markdown",
    "marker",
    "modes",
    "named_tensors",
    "need_values",
    "panels",
    "processes",
    "refuse_quantised",
    "refuse_quantised_config",
    "render",
    "rng",
    "short",
    "silent",
    "spread",
    "svg",
    "wait",
    "whole",
    "write_whole",
]
