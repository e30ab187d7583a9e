"""What an experiment is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.real.pictures import Picture
from benchmarks.real.record import Figures, Line, Settings

RECIPES = ("quick", "full")
"""What an experiment can be asked for: what two cores do in an hour or two, and what takes a GPU."""


@dataclass(frozen=True)
class Experiment:
    """Cells and what is measured in each.

    Attributes:
        name: of its module and of its file of results.
        title: of its section.
        about: Markdown, without figures: what was done and how to read it.
        cells: by recipe, the settings of all cells in the order in which they are to be measured. Settings are plain
            JSON data and say everything that decides a cell; those of one row differ in "seed" alone, and lower seeds
            come first, so that an interrupted run has whole rows.
        measure: measures one cell, in a process with one thread.
        tables: Markdown of what was measured, from the latest line of each cell.
        pictures: of the same.
    """

    name: str
    title: str
    about: str
    cells: Callable[[str], Sequence[Settings]]
    measure: Callable[[Settings], Figures]
    tables: Callable[[Sequence[Line]], str]
    pictures: Callable[[Sequence[Line]], Sequence[Picture]] = lambda lines: ()


def experiment(name: str) -> Experiment:
    """The experiment of a module of this package."""
    module: Any = importlib.import_module(f"benchmarks.real.{name}")
    return module.EXPERIMENT
