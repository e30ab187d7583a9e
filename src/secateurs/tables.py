"""Plain-text tables, the form that structures, plans and results print in."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def render(title: str, headers: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 160) -> str:
    """A table as text without colours; numbers are set to the right, long cells folded."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, header in enumerate(headers):
        numeric = bool(rows) and all(isinstance(row[column], (int, float)) for row in rows)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:.4g}" if isinstance(cell, float) else str(cell)) for cell in row))
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]
