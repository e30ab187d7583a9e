"""Tables as plain text (the printed form of structures, plans and results) and as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from statistics import mean, stdev
from typing import Any

Table = tuple[list[str], list[list[str]]]  # headers and rows


class Number(str):
    """A formatted number that keeps the numeric value, so that a table can be sorted by it."""

    value: float

    def __new__(cls, text: str, value: float) -> Number:
        """Make the text `text` with the numeric value `value`."""
        number = super().__new__(cls, text)
        number.value = value
        return number


def render(title: str, headers: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 160) -> str:
    """Format a table as plain text.

    Args:
        title: first line of the text; none if empty.
        headers: names of the columns.
        rows: cells of each row. Columns of numbers are aligned to the right.
        width: maximum characters per line; long cells are wrapped to fit.
    """
    right = [bool(rows) and all(isinstance(row[c], (int, float)) for row in rows) for c in range(len(headers))]
    lines = [list(headers), *([f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    widths = [max(1, *(len(part) for line in lines for part in line[c].split("\n"))) for c in range(len(headers))]
    while (excess := sum(widths) + 2 * (len(widths) - 1) - width) > 0 and max(widths) > 1:
        widest = max(widths)
        next_widest = max([w for w in widths if w < widest], default=1)
        share = -(-excess // widths.count(widest))
        widths = [max(w - share, next_widest, 1) if w == widest else w for w in widths]
    text = [title] if title else []
    for line in lines:
        wrapped = [_wrap(cell, w) for cell, w in zip(line, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            aligned = (p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True))
            text.append("  ".join(aligned).rstrip())
    return "\n".join(text) + "\n"


def _wrap(cell: str, width: int) -> list[str]:
    """Split the text of a cell into lines of at most `width` characters, at spaces where possible."""
    return [line for part in cell.split("\n") for line in textwrap.wrap(part, width, break_on_hyphens=False) or [""]]


def markdown(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a table as Markdown. Special characters in cells are escaped.

    Args:
        headers: names of the columns.
        rows: cells of each row.
    """
    lines = [map(escape, headers), ["---"] * len(headers), *(map(escape, map(str, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape(text: str) -> str:
    """Escape Markdown characters and join the text to one line."""
    return re.sub(r"([\\|*`<\[]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def list_reasons(reasons: Mapping[str, str], most: int = 5) -> str:
    """Join names and reasons on one line.

    Args:
        reasons: the reason for each name.
        most: maximum number of names that are listed. The others are counted.

    Returns:
        A text such as "'conv1' (no weight); 'conv2' (no weight); and 3 more".
    """
    more = f"; and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(f"{name!r} ({reason})" for name, reason in list(reasons.items())[:most]) + more


def format_mean(values: Sequence[float], digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
    """Format mean ± standard deviation of values.

    Args:
        values: the values.
        digits: digits after the decimal point.
        scale: factor by which mean and deviation are multiplied.
        unit: text after the numbers.

    Returns:
        The text: without the deviation for a single value, and empty for no values.
    """
    if not values:
        return ""
    deviation = f" ± {stdev(values) * scale:.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values) * scale:.{digits}f}{deviation}{unit}"
