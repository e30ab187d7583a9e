"""`secateurs demo`: a first example."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.output import print_json, print_table, progress
from secateurs.experiments import run_demo


@click.command()
@options.path_option(
    "--out", "Directory for the models and the report.", default=Path("secateurs-demo"), show_default=True
)
@options.count("--seeds", 3, "Repetitions of each criterion.")
@options.as_json
def demo(out: Path, seeds: int, as_json: bool) -> None:
    """Train a small network on digits and prune it to half its MACs by three criteria (about a minute)."""
    result = run_demo(out, seeds, progress=progress(as_json))
    if as_json:
        print_json({**result.comparison.as_dict(), "reload_difference": result.reload_difference})
        return
    headers, rows = result.comparison.table()
    print_table(result.comparison.title, headers, rows)
    print("\n".join(result.comparison.notes))
    print(f"\nSaved and loaded again: the largest difference of any output is {result.reload_difference:g}.")
    print(f"Models: {', '.join(str(out / row.criterion) for row in result.comparison.rows)}")
    print(f"Page:   {(out / 'report.html').resolve()}")
