"""Tables as text: plain, the form that structures, plans and results print in, and Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from statistics import mean, stdev
from typing import Any

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
    """Lay out a table as plain text; numbers are aligned to the right, and long cells are wrapped to fit `width`."""
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
    """The lines of a cell: words stay whole where they fit."""
    return [line for part in cell.split("\n") for line in textwrap.wrap(part, width, break_on_hyphens=False) or [""]]


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
