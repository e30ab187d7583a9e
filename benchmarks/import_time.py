"""Time of `import secateurs` against `import torch`: `python -m benchmarks.import_time` writes results/import_time.md.

Each import runs in a fresh process. The time is CPU time, which other processes change least. The two imports take
turns, and the first turn is not counted because it fills the file cache. The goal is a ratio of at most 1.3.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean, median, stdev

from secateurs.utils import environment, markdown

RESULTS = Path(__file__).parent / "results"
MODULES = ("torch", "secateurs")
GOAL = 1.3
SCRIPT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def seconds(module: str) -> float:
    """CPU seconds that the import of a module takes in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(repetitions: int) -> list[dict[str, float]]:
    """The seconds of both imports in each turn, after one turn that is not counted."""
    return [{module: seconds(module) for module in MODULES} for _ in range(repetitions + 1)][1:]


def page(turns: list[dict[str, float]]) -> str:
    """The result as Markdown."""
    columns = {f"import {module}, s": [turn[module] for turn in turns] for module in MODULES}
    columns["ratio"] = [turn["secateurs"] / turn["torch"] for turn in turns]
    rows = [[name, *(f"{f(v):.2f}" for f in (median, mean, stdev, min, max))] for name, v in columns.items()]
    return (
        f"# Import time\n\n{(__doc__ or '').strip()}\n\n"
        f"{len(turns)} turns. Measured with {', '.join(f'{k} {v}' for k, v in environment().items())}.\n\n"
        + markdown(["", "median", "mean", "standard deviation", "least", "most"], rows)
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=15, help="turns that count, at least 2 (default: 15)")
    parser.add_argument("--list", action="store_true", help="print the imports that are measured, and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(f"import {module}" for module in MODULES), sep="\n")
        return
    text = page(measure(arguments.repetitions))
    (RESULTS / "import_time.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
