"""The command line. It prints; the library does not.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 a defect in Secateurs or
in the model's own code, 2 wrong usage, 3 bad input (a model, data, budget or directory that cannot be used), 130
interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli_output import Json, errors, print_json, print_table, progress
from secateurs.cli_study import study
from secateurs.errors import SecateursError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Find redundant neurons, remove them, show it.")
app.add_typer(study, name="study")

Model = Annotated[str, typer.Argument(help="py:path/to/file.py:factory, a function that builds the model.")]
Shape = Annotated[str, typer.Option("--input", help="Shape of one input without the batch dimension: 3,32,32.")]
Keep = Annotated[list[str], typer.Option(help="Name or pattern of modules whose units stay; may be repeated.")]

Kinds = Annotated[list[str], typer.Option(help="Kind of units that may go (see: secateurs list); may be repeated.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Directory for the models and the page.")] = Path("secateurs-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of each criterion.")] = 3,
    as_json: Json = False,
) -> None:
    """Train a small network on digits and prune it to half its MACs by three criteria (about a minute)."""
    from secateurs.demo import run

    result = run(out, seeds, progress=progress(as_json))
    if as_json:
        print_json({**result.comparison.as_dict(), "reload_difference": result.reload_difference})
        return
    headers, rows = result.comparison.table()
    print_table(result.comparison.title, headers, rows)
    print("\n".join(result.comparison.notes))
    print(f"\nSaved and loaded back: the largest difference of any output is {result.reload_difference:g}.")
    print(f"Models: {', '.join(str(out / row.criterion) for row in result.comparison.rows)}")
    print(f"Page:   {(out / 'report.html').resolve()}")


@app.command()
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

    examples = first_batch(read_data(data or "random:1", _shape(shape))).sample()
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


@app.command()
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
        shape=_shape(shape),
        criterion=criterion,
        budget=budget,
        keep=tuple(keep),
        kinds=tuple(kinds) or None,
        scope=scope or None,
        aggregate=aggregate,
        compensate=compensate,
        limits=Limits(_number(floor), _number(cap), multiple),
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        images=ImageOptions(image_size or None, _floats(mean), _floats(std)),
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


LISTS = ("criteria", "budgets", "kinds")


@app.command(name="list")
def list_(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(LISTS)}; all of them if left out.")] = "",
    as_json: Json = False,
) -> None:
    """List the criteria, the forms of a budget and the kinds of units."""
    from secateurs.budgets import EFFECTIVE, QUANTITIES
    from secateurs.criteria import CRITERIA, described
    from secateurs.structure.kinds import DEFAULT, KINDS

    if what and what not in LISTS:
        raise typer.BadParameter(f"{what!r} is none of {', '.join(LISTS)}")
    wanted = [what] if what else LISTS
    budgets = {f"{name}:F": f"at most the fraction F in (0, 1] of the {of}" for name, of in QUANTITIES.items()}
    budgets[f"{EFFECTIVE}, {EFFECTIVE}:B"] = "as many units as the scores' effective sample size (times B) says"
    if as_json:
        everything = {"criteria": {c.name: described(c) for c in CRITERIA.values()}, "budgets": budgets, "kinds": KINDS}
        print_json({name: everything[name] for name in wanted})
        return
    if "criteria" in wanted:
        headers = ["name", "needs", "comparable", "single weights", "score", "limits", "source"]
        yes = {True: "yes", False: "no"}
        print_table(
            "Criteria",
            headers,
            [
                (c.name, c.needs, yes[c.comparable], yes[c.scores_entries], c.summary, c.limits, c.source)
                for c in CRITERIA.values()
            ],
        )
    if "budgets" in wanted:
        print_table("Budgets", ["form", "what is kept"], list(budgets.items()))
    if "kinds" in wanted:
        rows = [(k, "yes" if k in DEFAULT else "no", f"unit {v}") for k, v in KINDS.items()]
        print_table("Kinds of units", ["kind", "by default", "what"], rows)


@app.command()
def env(as_json: Json = False) -> None:
    """Show versions and hardware, for reports of problems."""
    from secateurs.report import environment

    if as_json:
        print_json(environment())
    else:
        print_table("Environment", ["what", "value"], list(environment().items()))


def main() -> None:
    """Run the command line; errors of bad input become one line and an exit code."""
    try:
        app()
    except SecateursError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            errors.print(f"[bold red]{type(error).__name__}[/]: ", end="")
            errors.print(str(error), markup=False, highlight=False)
        sys.exit(3)


def _shape(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a shape such as 3,32,32", param_hint="--input") from None


def _number(text: str) -> float | int:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def _floats(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as 0.485,0.456,0.406") from None
