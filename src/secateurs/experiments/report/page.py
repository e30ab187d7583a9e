"""Reports as files: one self-contained HTML page, Markdown, JSON and CSV."""

from __future__ import annotations

import json
from pathlib import Path

from secateurs.errors import PersistError
from secateurs.experiments.report.comparison import Comparison
from secateurs.experiments.report.headlines import headlines
from secateurs.experiments.report.tidy import records, summary, to_csv
from secateurs.utils import atomic_write_text, escape, markdown, require


def render_page(comparison: Comparison) -> str:
    """Render the page as HTML: it loads nothing, suits light and dark screens and paper, and has sortable tables."""
    require("jinja2", "report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from secateurs.experiments.report.sections import sections

    environment = Environment(
        loader=PackageLoader("secateurs.experiments", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    parts = [(section, section.picture(comparison) if section.picture else "") for section in sections(comparison)]
    page = environment.get_template("page.html.j2")
    return page.render(c=comparison, headlines=headlines(comparison), sections=parts)


def render_markdown(comparison: Comparison) -> str:
    """Render the page without pictures, as Markdown."""
    from secateurs.experiments.report.sections import sections

    budgets = ", ".join(comparison.budgets)
    lines = [f"# {escape(comparison.title)}", f"{escape(comparison.model)}; budget {escape(budgets)}."]
    figures = ["; ".join([f"{head.title}: {head.figure}", *head.lines]) for head in headlines(comparison)]
    lines += ["\n".join(f"- {escape(text)}" for text in figures)]
    for section in sections(comparison):
        if section.picture and not section.table:
            continue
        lines += [f"## {escape(section.title)}", *map(escape, section.notes)]
        lines += [markdown(*section.table).rstrip()] if section.table else []
    lines += ["## Command", f"````\n{comparison.command}\n````"]
    return "\n\n".join(line for line in lines if line) + "\n"


def write_report(comparison: Comparison, directory: str | Path) -> None:
    """Write report.html, report.md, report.json, table.csv and table.json, replacing files of these names.

    `table.csv` has one record per criterion, budget, seed and stage; `table.json` has these records and their means.

    Raises:
        PersistError: the directory cannot be written to.
    """
    tidy = records(comparison)
    texts = {
        "report.html": render_page(comparison),
        "report.md": render_markdown(comparison),
        "report.json": _json(comparison.as_dict()),
        "table.csv": to_csv(tidy),
        "table.json": _json({"records": tidy, "summary": summary(comparison)}),
    }
    try:
        for name, text in texts.items():
            atomic_write_text(Path(directory) / name, text)
    except OSError as error:
        raise PersistError(f"the report cannot be written to {directory}: {error}") from error


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
