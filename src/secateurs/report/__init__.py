"""Evidence for people: comparisons, their tables and their pages."""

from secateurs.report.comparison import Comparison, Row, environment
from secateurs.report.page import render_page, write_page

__all__ = ["Comparison", "Row", "environment", "render_page", "write_page"]
