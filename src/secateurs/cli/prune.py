"""`secateurs check` and `secateurs prune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.options import Keep, Kinds, Model, Shape, floats_of, number_of, shape_of
from secateurs.cli.output import Json, print_json, print_table, progress


def check(
    model: Model,
    shape: Shape = "",
    data: Annotated[str, typer.Option(help="npz:PATH, folder:PATH or random:N, instead of --input.")] = "",
    keep: Keep = [],  # noqa: B006 (typer reads it)
    kinds: Kinds = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List what can be removed from a model and what cannot, with the reasons. Changes nothing."""
    from secateurs.check import check as run
    from secateurs.data import first_batch
    from secateurs.sources import build, read_data

    examples = first_batch(read_data(data or "random:1", shape_of(shape))).sample()
    found = run(build(model), examples, keep, kinds or None)
    if not as_json:
        print(found)
        return
    groups = [
        {"name": g.name, "kind": g.kind, "units": g.size, "members": list(map(str, g.members)), "inexact": g.inexact}
        for g in found.structure.groups.values()
    ]
    frozen, failed = dict(found.structure.frozen), found.failed
    print_json({"groups": groups, "frozen": frozen, "failed": failed, "prunable": found.prunable, **vars(found.cost)})


def prune(
    model: Model,
    data: Annotated[str, typer.Option(help="npz:PATH, folder:PATH or random:N.")],
    out: Annotated[Path, typer.Option(help="New directory for the pruned model and its page.")],
    criterion: Annotated[str, typer.Option(help="See: secateurs list criteria; or a sum: 0.7*nexp+0.3*l1.")] = "nexp",
    budget: Annotated[str, typer.Option(help="What is kept: macs:F, params:F, keep:F or effective.")] = "macs:0.5",
    shape: Shape = "",
    keep: Keep = [],  # noqa: B006 (typer reads it)
    kinds: Kinds = [],  # noqa: B006
    scope: Annotated[str, typer.Option(help="global or local; by default what suits the criterion.")] = "",
    aggregate: Annotated[str, typer.Option(help="Scores of a unit in several layers: mean, max or sum.")] = "mean",
    compensate: Annotated[bool, typer.Option(help="Let the units that stay take over what they can.")] = True,
    floor: Annotated[str, typer.Option(help="Least kept per group: a fraction (0.1) or a number (4).")] = "1",
    cap: Annotated[str, typer.Option(help="Most kept per group: a fraction or a number.")] = "1.0",
    multiple: Annotated[int, typer.Option(help="Widths are multiples of this.")] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Fine-tuning; needs data with targets.")] = 0,
    lr: Annotated[float, typer.Option(help="Learning rate of the fine-tuning.")] = 0.01,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    test: Annotated[str, typer.Option(help="Labelled data to measure accuracy on: npz:PATH or folder:PATH.")] = "",
    image_size: Annotated[int, typer.Option(help="Resize images of folders; 0 leaves them.")] = 0,
    mean: Annotated[str, typer.Option(help="Subtracted from images of folders, per channel.")] = "0",
    std: Annotated[str, typer.Option(help="Images of folders are divided by this, per channel.")] = "1",
    seed: int = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model saved there before.")] = False,
    as_json: Json = False,
) -> None:
    """Prune a model, recalibrate its batch norm, fine-tune it if asked, and save it with a page."""
    from secateurs.budgets import Limits
    from secateurs.job import Job
    from secateurs.persist import check_free
    from secateurs.report import write_page
    from secateurs.sources import ImageOptions

    job = Job(
        model=model,
        data=data,
        test=test,
        shape=shape_of(shape),
        criterion=criterion,
        budget=budget,
        keep=tuple(keep),
        kinds=tuple(kinds) or None,
        scope=scope or None,
        aggregate=aggregate,
        compensate=compensate,
        limits=Limits(number_of(floor), number_of(cap), multiple),
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        images=ImageOptions(image_size or None, floats_of(mean), floats_of(std)),
        seed=seed,
    )
    check_free(out, overwrite)  # before anything slow
    result, comparison = job.run(progress(as_json), command=" ".join(["secateurs", *sys.argv[1:]]))
    result.save(out, overwrite)
    write_page(comparison, out / "report.html")
    if as_json:
        print_json(comparison.as_dict())
        return
    print(result.plan)
    print_table(comparison.title, *comparison.table())
    print(f"\nModel and page: {out}")
