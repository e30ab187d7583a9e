"""One self-contained HTML page that shows a comparison."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from secateurs.errors import PersistError
from secateurs.report import figures
from secateurs.report.comparison import Comparison, spread


def render_page(comparison: Comparison) -> str:
    """The page as text: no scripts, nothing loaded from elsewhere, for light and dark screens and for paper."""
    environment = Environment(
        loader=PackageLoader("secateurs", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    headers, rows = comparison.table()
    return environment.get_template("page.html.j2").render(
        c=comparison,
        headers=headers,
        rows=rows,
        spread=spread,
        accuracies=figures.accuracies(comparison) if comparison.stages else "",
        widths=figures.widths(comparison),
        scores=figures.scores(comparison),
    )


def write_page(comparison: Comparison, path: str | Path) -> None:
    """Write the page to a file.

    Raises:
        PersistError: the file cannot be written.
    """
    try:
        Path(path).write_text(render_page(comparison), encoding="utf-8")
    except OSError as error:
        raise PersistError(f"the page cannot be written to {path}: {error}") from error
