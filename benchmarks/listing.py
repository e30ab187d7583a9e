"""The option `--list` that every benchmark has: print what would be measured, and stop."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def listed(cells: Iterable[object]) -> bool:
    """Print the cells of a benchmark, one on each line, if the command line is `--list` alone.

    Returns:
        Whether the cells were printed; then there is nothing else to do.
    """
    if sys.argv[1:] != ["--list"]:
        return False
    print(*cells, sep="\n")
    return True
