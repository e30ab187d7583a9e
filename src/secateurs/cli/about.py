"""`secateurs demo`, `secateurs list` and `secateurs env`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.output import Json, print_json, print_table, progress

LISTS = ("criteria", "budgets", "kinds")


def demo(
    out: Annotated[Path, typer.Option(help="Directory for the models and the page.")] = Path("secateurs-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of each criterion.")] = 3,
    as_json: Json = False,
) -> None:
    """Train a small network on digits and prune it to half its MACs by three criteria (about a minute)."""
    from secateurs.experiments import run_demo

    result = run_demo(out, seeds, progress=progress(as_json))
    if as_json:
        print_json({**result.comparison.as_dict(), "reload_difference": result.reload_difference})
        return
    headers, rows = result.comparison.table()
    print_table(result.comparison.title, headers, rows)
    print("\n".join(result.comparison.notes))
    print(f"\nSaved and loaded back: the largest difference of any output is {result.reload_difference:g}.")
    print(f"Models: {', '.join(str(out / row.criterion) for row in result.comparison.rows)}")
    print(f"Page:   {(out / 'report.html').resolve()}")


def list_(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(LISTS)}; all of them if left out.")] = "",
    as_json: Json = False,
) -> None:
    """List the criteria, the forms of a budget and the kinds of units."""
    from secateurs.budgets import EFFECTIVE, QUANTITIES
    from secateurs.criteria import CRITERIA, described
    from secateurs.structure import DEFAULT_KINDS, UNIT_KINDS

    if what and what not in LISTS:
        raise typer.BadParameter(f"{what!r} is none of {', '.join(LISTS)}")
    wanted = [what] if what else LISTS
    budgets = {f"{q.name}:F": f"at most the fraction F in (0, 1]: {q.summary}" for q in QUANTITIES.values()}
    budgets[f"{EFFECTIVE}, {EFFECTIVE}:B"] = "as many units as the scores' effective sample size (times B) says"
    if as_json:
        criteria = {criterion.name: described(criterion) for criterion in CRITERIA.values()}
        everything = {"criteria": criteria, "budgets": budgets, "kinds": UNIT_KINDS}
        print_json({name: everything[name] for name in wanted})
        return
    if "criteria" in wanted:
        headers = ["name", "needs", "scope", "single weights", "score", "limits", "source"]
        yes = {True: "yes", False: "no"}
        print_table(
            "Criteria",
            headers,
            [
                (c.name, c.needs, c.scope, yes[c.scores_entries], c.summary, c.limits, c.source)
                for c in CRITERIA.values()
            ],
        )
    if "budgets" in wanted:
        print_table("Budgets", ["form", "what is kept"], list(budgets.items()))
    if "kinds" in wanted:
        rows = [(k, "yes" if k in DEFAULT_KINDS else "no", f"unit {v}") for k, v in UNIT_KINDS.items()]
        print_table("Kinds of units", ["kind", "by default", "what"], rows)


def env(as_json: Json = False) -> None:
    """Show versions and hardware, for reports of problems."""
    from secateurs.utils import environment

    if as_json:
        print_json(environment())
    else:
        print_table("Environment", ["what", "value"], list(environment().items()))
