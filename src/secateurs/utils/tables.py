"""Tables as text: plain, the form that structures, plans and results print in, and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

Table = tuple[list[str], list[list[str]]]  # headers and rows


class Number(str):
    """A number as people read it, which keeps its value so that a table can be sorted by it."""

    value: float

    def __new__(cls, text: str, value: float) -> Number:
        """The text for the value."""
        number = super().__new__(cls, text)
        number.value = value
        return number


def render(title: str, headers: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 160) -> str:
    """A table as text without colours; numbers are set to the right, long cells folded."""
    table = Grid(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column, header in enumerate(headers):
        numeric = bool(rows) and all(isinstance(row[column], (int, float)) for row in rows)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:.4g}" if isinstance(cell, float) else str(cell)) for cell in row))
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"  # type: ignore[attr-defined]


def markdown(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; cells show as they are, whatever they hold."""
    lines = [map(escape, headers), ["---"] * len(headers), *(map(escape, map(str, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape(text: str) -> str:
    """Text on one line of Markdown that shows as it is."""
    return re.sub(r"([\\|*`<\[]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def list_reasons(reasons: Mapping[str, str], most: int = 5) -> str:
    """Names with what is said of each, on one line; of many only the first."""
    more = f"; and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(f"{name!r} ({why})" for name, why in list(reasons.items())[:most]) + more


def spread(values: Sequence[float], digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
    """Mean and, for several values, standard deviation, both times `scale`; nothing for no values."""
    if not values:
        return ""
    deviation = f" ± {stdev(values) * scale:.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values) * scale:.{digits}f}{deviation}{unit}"
