"""`secateurs compare`: compare criteria."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.job import JobOptions, with_job
from secateurs.cli.output import print_json, print_table, progress
from secateurs.cli.resume import command_line, directory_of, resumable, resume
from secateurs.cli.types import WORDS
from secateurs.experiments import Sweep, on_ray, on_this_machine

SOME_FAILED = 4


@click.command()
@with_job()
@options.path_option("--out", "New directory for the runs and the report.")
@resume
@click.option(
    "--criteria",
    type=WORDS,
    default="nexp,ssi,ndi,l2",
    show_default=True,
    help="Separated by commas; l1 and random are added. Replaces the criterion of --config.",
)
@click.option(
    "--budgets",
    type=WORDS,
    default="macs:0.5",
    show_default=True,
    help="Separated by commas. Replaces the budget of --config.",
)
@options.count("--seeds", 3, "Repetitions of each criterion at each budget.")
@options.count("--workers", 2, "Number of runs at a time.")
@click.option("--ray", is_flag=True, help="Run on a Ray cluster (RAY_ADDRESS) instead.")
@options.quiet
@options.as_json
@click.pass_context
def compare(
    ctx: click.Context,
    job: JobOptions,
    out: Path | None,
    resume: Path | None,
    criteria: tuple[str, ...],
    budgets: tuple[str, ...],
    seeds: int,
    workers: int,
    ray: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare criteria at several budgets with several seeds, with the same weights, schedule and recovery."""
    directory, resumed = directory_of(ctx, out, resume)
    if resumed:
        command, sweep = Sweep.stored(directory)
    else:
        command, sweep = command_line(), Sweep(job.job(), criteria, budgets, seeds)
    execute = on_ray() if ray else on_this_machine(workers)
    with resumable("compare", directory):
        comparison = sweep.run(directory, execute, progress(quiet or as_json), command)
    if as_json:
        print_json(comparison.as_dict())
    elif not quiet:
        print_table(comparison.title, *comparison.table())
        print("\n" + "\n".join(comparison.notes))
        for cell, error in comparison.failed.items():
            print(f"Failed: {cell}: {error}")
        print(f"\nPage:  {directory / 'report.html'}\nTable: {directory / 'table.csv'}")
    if comparison.failed:
        raise click.exceptions.Exit(SOME_FAILED)
