"""`secateurs compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.job import with_job
from secateurs.cli.options import words_of
from secateurs.cli.output import Json, Quiet, print_json, print_table, progress
from secateurs.cli.resume import Resume, resumable, typed, where

if TYPE_CHECKING:
    from secateurs.experiments import Job

SOME_FAILED = 4


@with_job
def compare(
    job: Callable[[], Job],
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help="New directory for the runs and the report.")] = None,
    resume: Resume = None,
    criteria: Annotated[str, typer.Option(help="Separated by commas; l1 and random are added.")] = "nexp,ssi,ndi,l2",
    budgets: Annotated[str, typer.Option(help="Separated by commas.")] = "macs:0.5",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of each criterion at each budget.")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    ray: Annotated[bool, typer.Option("--ray", help="Run on a Ray cluster (RAY_ADDRESS) instead.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare criteria at several budgets with several seeds: same weights, same schedule, same recovery."""
    from secateurs.experiments import Sweep, on_ray, on_this_machine

    out, going_on = where(ctx, out, resume)
    if going_on:
        command, sweep = Sweep.begun(out)
    else:
        command = typed()
        sweep = Sweep(job(), words_of(criteria), words_of(budgets), seeds)
    execute = on_ray() if ray else on_this_machine(workers)
    with resumable("compare", out):
        comparison = sweep.run(out, execute, progress(quiet or as_json), command)
    if as_json:
        print_json(comparison.as_dict())
    elif not quiet:
        print_table(comparison.title, *comparison.table())
        print("\n" + "\n".join(comparison.notes))
        for cell, error in comparison.failed.items():
            print(f"Failed: {cell}: {error}")
        print(f"\nPage:  {out / 'report.html'}\nTable: {out / 'table.csv'}")
    if comparison.failed:
        raise typer.Exit(SOME_FAILED)
