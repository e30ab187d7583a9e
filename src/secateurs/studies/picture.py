"""Pictures of studies: the report's, made to stand alone."""

from __future__ import annotations

from matplotlib.figure import Figure

from secateurs.report.figures import svg


def alone(figure: Figure, title: str) -> str:
    """The figure as SVG text, dark on white wherever it is shown; see `secateurs.report.figures.svg`."""
    return svg(figure, title).replace('style="', 'style="color: #222222; background: #ffffff; ', 1)
