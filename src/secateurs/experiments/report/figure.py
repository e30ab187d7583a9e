"""An empty figure in the style of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from secateurs.utils import STYLE, WIDTH, require

if TYPE_CHECKING:  # matplotlib is an extra
    from matplotlib.figure import Figure


@contextmanager
def page_figure(height: float, width: float = WIDTH, **options: Any) -> Iterator[Figure]:
    """An empty figure in the style of the pages; draw on it and turn it into SVG inside the context.

    Args:
        height, width: in inches.
        options: of `matplotlib.figure.Figure`; the default layout keeps labels from overlapping.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require("matplotlib", "report")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        yield Figure(figsize=(width, height), **{"layout": "constrained", **options})
