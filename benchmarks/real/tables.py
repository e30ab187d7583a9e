"""Tables of lines: those that differ in their seed alone make one row, mean ± standard deviation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.real.record import Line, key
from secateurs.utils.tables import format_mean, markdown

Column = Callable[[Sequence[Line]], str]
"""The text of one cell, from the lines of its row."""


def mean(figure: str, digits: int = 1, scale: float = 100.0) -> Column:
    """Of a figure, over the seeds for which it was measured; by default as per cent."""
    return lambda lines: format_mean([its.figures[figure] for its in lines if figure in its.figures], digits, scale)


def setting(name: str) -> Column:
    """What all lines of the row were set to."""
    return lambda lines: str(lines[0].settings[name])


def seeds(lines: Sequence[Line]) -> str:
    """How many lines there are."""
    return str(len(lines))


def rows(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines of each row, in the order of the first."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[key({name: its for name, its in line.settings.items() if name != "seed"})].append(line)
    return list(found.values())


def table(lines: Sequence[Line], columns: Mapping[str, Column]) -> str:
    """Markdown; the last column says how many seeds there are."""
    columns = {**columns, "seeds": seeds}
    return markdown(list(columns), [[column(its) for column in columns.values()] for its in rows(lines)])


Setting = tuple[str, Sequence[Any]]
"""The name of a setting, and what it may be."""


def pivot(
    lines: Sequence[Line], corner: str, down: Setting, across: Setting, column: Column, further: Sequence[Any] = ()
) -> str:
    """Markdown with one setting down, where anything was measured, and another across; the last column as in `table`.

    Args:
        lines: what was measured.
        corner: the first column's title.
        down, across: the settings.
        column: the text of each cell.
        further: rows after these.
    """
    found: list[Any] = []
    for name in down[1]:
        cells = [
            [its for its in lines if (its.settings[down[0]], its.settings[across[0]]) == (name, value)]
            for value in across[1]
        ]
        texts = [column(its) if its else "" for its in cells]
        if any(texts):
            found.append([name, *texts, max(map(len, cells))])
    return markdown([corner, *map(str, across[1]), "seeds"], [*found, *further])


def part(title: str, lines: Sequence[Line], columns: Mapping[str, Column]) -> str:
    """A table under its title, if there is anything to tell."""
    return f"**{title}**\n\n{table(lines, columns)}\n" if lines else ""


def common(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that all cells share."""
    return {name: its for name, its in cells[0].items() if all(cell.get(name) == its for cell in cells)}
