"""Reports: comparisons of pruned models, as tables, pages and files."""

from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.curves import BAR
from secateurs.experiments.report.figure import page_figure
from secateurs.experiments.report.outcome import Metric, Outcome, RoundOutcome, Row
from secateurs.experiments.report.page import render_markdown, render_page, write_report
from secateurs.experiments.report.tidy import records

__all__ = [
    "BAR",
    "Comparison",
    "Metric",
    "Outcome",
    "RoundOutcome",
    "Row",
    "page_figure",
    "records",
    "render_markdown",
    "render_page",
    "write_report",
]
