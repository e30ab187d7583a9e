"""`secateurs prune`: prune a model, and store the run in a directory."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.job import CELL, JobOptions, with_job
from secateurs.cli.layerwise import prune_layerwise
from secateurs.cli.output import print_json, print_table, progress
from secateurs.cli.resume import command_line, directory_of, resumable, resume
from secateurs.experiments import MODEL, Job, run_job
from secateurs.pruning.run import Run
from secateurs.utils import is_first_process


@click.command()
@with_job(cell=CELL)
@options.path_option("--out", "New directory for the run, its model and its report.")
@resume
@click.option(
    "--layerwise",
    is_flag=True,
    help="Prune an hf: model with one layer in memory at a time; --out is the directory of the pruned model.",
)
@options.path_option("--scratch", "With --layerwise: a directory for temporary files with the outputs of layers.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --out.")
@options.quiet
@options.as_json
@click.pass_context
def prune(
    ctx: click.Context,
    job: JobOptions,
    out: Path | None,
    resume: Path | None,
    layerwise: bool,
    scratch: Path | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Prune a model in one or several rounds, recover it, and write the run and a report to a directory."""
    directory, resumed = directory_of(ctx, out, resume)
    if scratch is not None and not layerwise:
        raise click.BadParameter("this option needs --layerwise", param_hint="--scratch")
    if layerwise:
        return prune_layerwise(job.job(), directory, scratch, overwrite, quiet, as_json)
    if resumed:
        command, chosen = Job.stored(directory)
    else:
        command, chosen = command_line(), job.job()
        chosen.check()
        if is_first_process():
            Run.prepare(directory, overwrite)
    with resumable("prune", directory):
        show_progress = progress(quiet or as_json or not is_first_process())
        result, comparison = run_job(chosen, directory, show_progress, command)
    if not is_first_process():
        return
    if as_json:
        print_json(comparison.as_dict())
    elif not quiet:
        print(result.plan)
        print_table(comparison.title, *comparison.table())
        print("", *comparison.notes, sep="\n")
        print(f"\nModel: {directory / MODEL}\nPage:  {directory / 'report.html'}")
