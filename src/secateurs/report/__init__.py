"""Evidence for people: comparisons, their tables and their pages."""

from secateurs.report.comparison import Comparison, environment
from secateurs.report.outcome import Metric, Outcome, Round, Row
from secateurs.report.page import render_markdown, render_page, write_report

__all__ = [
    "Comparison",
    "Metric",
    "Outcome",
    "Round",
    "Row",
    "environment",
    "render_markdown",
    "render_page",
    "write_report",
]
