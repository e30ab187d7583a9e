"""`secateurs check` and `secateurs prune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.job import with_job
from secateurs.cli.layerwise import prune_layerwise
from secateurs.cli.options import Keep, Kinds, Model, Seed, Shape, shape_of
from secateurs.cli.output import Json, Quiet, print_json, print_table, progress
from secateurs.cli.resume import Resume, resumable, typed, where

if TYPE_CHECKING:
    from secateurs.experiments import Job


def check(
    model: Model,
    shape: Shape = "",
    data: Annotated[str, typer.Option(help="npz:, folder:, text:, jsonl: or tsv:PATH or random:N; not --input.")] = "",
    keep: Keep = [],  # noqa: B006 (typer reads it)
    kinds: Kinds = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List what can be removed from a model and what cannot, with the reasons. Changes nothing."""
    from secateurs.data import first_batch
    from secateurs.experiments.specs import build_model, pretrained_path, read_data
    from secateurs.huggingface.text import TextOptions
    from secateurs.pruning import check as run

    text = TextOptions(pretrained_path(model))
    examples = first_batch(read_data(data or "random:1", shape_of(shape), text=text)).sample()
    found = run(build_model(model), examples, keep, kinds or None)
    if not as_json:
        print(found)
        return
    groups = [
        {"name": g.name, "kind": g.kind, "units": g.size, "members": list(map(str, g.members)), "inexact": g.inexact}
        for g in found.structure.groups.values()
    ]
    frozen, failed = dict(found.structure.frozen), found.failed
    print_json({"groups": groups, "frozen": frozen, "failed": failed, "prunable": found.prunable, **vars(found.cost)})


@with_job
def prune(
    job: Callable[[], Job],
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option(help="New directory for the run, its model and its report.")] = None,
    resume: Resume = None,
    criterion: Annotated[str, typer.Option(help="See: secateurs list criteria; or a sum: 0.7*nexp+0.3*l1.")] = "obs",
    budget: Annotated[str, typer.Option(help="What is kept: macs:F, params:F, keep:F or effective.")] = "macs:0.5",
    seed: Seed = 0,
    layerwise: Annotated[
        bool, typer.Option("--layerwise", help="One layer of an hf: model in memory at a time; --out is the model's.")
    ] = False,
    scratch: Annotated[
        Path | None, typer.Option(help="With --layerwise: keep what layers return in files in this directory.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Prune a model in one round or several, recover it, and keep the run in a directory, with a report."""
    from secateurs.experiments import MODEL, Job, run_job
    from secateurs.pruning.run import Run
    from secateurs.utils import is_first_process

    out, going_on = where(ctx, out, resume)
    if scratch is not None and not layerwise:
        raise typer.BadParameter("it is for --layerwise", param_hint="--scratch")
    if layerwise:
        chosen = dataclasses.replace(job(), criterion=criterion, budget=budget, seed=seed)
        return prune_layerwise(chosen, out, scratch, overwrite, quiet, as_json)
    if going_on:
        command, chosen = Job.begun(out)
    else:
        command, chosen = typed(), dataclasses.replace(job(), criterion=criterion, budget=budget, seed=seed)
        chosen.check()
        if is_first_process():
            Run.make_room(out, overwrite)
    with resumable("prune", out):
        result, comparison = run_job(chosen, out, progress(quiet or as_json or not is_first_process()), command)
    if not is_first_process():
        return
    if as_json:
        print_json(comparison.as_dict())
    elif not quiet:
        print(result.plan)
        print_table(comparison.title, *comparison.table())
        print("", *comparison.notes, sep="\n")
        print(f"\nModel: {out / MODEL}\nPage:  {out / 'report.html'}")
