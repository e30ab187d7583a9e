"""Measure the zoo beside Torch-Pruning: `python -m benchmarks.zoo [NAME or FAMILY ...]` writes zoo.json and zoo.md."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.progress import track

from benchmarks.listing import listed
from benchmarks.zoo import ENTRIES
from benchmarks.zoo.table import render
from secateurs.utils.environment import environment

RESULTS = Path(__file__).parent.parent / "results"
BATCH, WORKERS = 8, 2


def run(names: list[str]) -> list[dict[str, Any]]:
    """One row per model; each worker is a process of its own that measures a few of them on one thread."""
    batches = [names[i : i + BATCH] for i in range(0, len(names), BATCH)]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(WORKERS) as pool:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.zoo.measure", scratch]
        jobs = [pool.submit(subprocess.run, [*command, *batch], capture_output=True) for batch in batches]
        for job in track(jobs, "measuring"):
            job.result()
        return [_read(Path(scratch) / f"{quote(name)}.json", name) for name in names]


def _read(path: Path, name: str) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {"name": name, "error": "the process died"}


def main() -> None:
    """Measure what is named (everything by default) and write the tables; earlier rows of other models stay."""
    if listed(entry.name for entry in ENTRIES):
        return
    wanted = set(sys.argv[1:])
    names = [e.name for e in ENTRIES if not wanted or e.name in wanted or e.family in wanted]
    path = RESULTS / "zoo.json"
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    rows |= {row["name"]: row for row in run(names)}
    ordered = [rows[e.name] for e in ENTRIES if e.name in rows]
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"environment": environment(), "rows": ordered}, indent=1))
    (RESULTS / "zoo.md").write_text(render(ordered, environment(), len(ENTRIES)))


if __name__ == "__main__":
    main()
