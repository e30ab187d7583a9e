"""`secateurs list` and `secateurs env`."""

from __future__ import annotations

import click

from secateurs.budgets import EFFECTIVE, QUANTITIES
from secateurs.cli import options
from secateurs.cli.output import print_json, print_table
from secateurs.criteria import CRITERIA, described
from secateurs.structure import DEFAULT_KINDS, UNIT_KINDS
from secateurs.utils import environment

LISTS = ("criteria", "budgets", "kinds", "models", "data")


@click.command(name="list")
@click.argument("what", type=click.Choice(LISTS), required=False)
@options.as_json
def list_all(what: str | None, as_json: bool) -> None:
    """List the criteria, the forms of a budget, the kinds of units, and the forms of models and data."""
    from secateurs.experiments.specs import DATA_SPECS, MODEL_SPECS

    wanted = [what] if what else LISTS
    budgets = {f"{q.name}:F": f"at most the fraction F in (0, 1]: {q.summary}" for q in QUANTITIES.values()}
    budgets[f"{EFFECTIVE}, {EFFECTIVE}:B"] = "the effective sample size of the scores, times B"
    specs = {
        name: {spec.form: spec.summary for spec in known.values()}
        for name, known in (("models", MODEL_SPECS), ("data", DATA_SPECS))
    }
    if as_json:
        criteria = {criterion.name: described(criterion) for criterion in CRITERIA.values()}
        everything = {"criteria": criteria, "budgets": budgets, "kinds": UNIT_KINDS, **specs}
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
        print_table("Budgets", ["form", "meaning"], list(budgets.items()))
    if "kinds" in wanted:
        rows = [(k, "yes" if k in DEFAULT_KINDS else "no", f"unit {v}") for k, v in UNIT_KINDS.items()]
        print_table("Kinds of units", ["kind", "by default", "meaning"], rows)
    for name in [name for name in specs if name in wanted]:
        print_table(f"Forms of {name}", ["form", "meaning"], list(specs[name].items()))


@click.command()
@options.as_json
def env(as_json: bool) -> None:
    """Show the versions of libraries and the hardware, for bug reports."""
    if as_json:
        print_json(environment())
    else:
        print_table("Environment", ["component", "value"], list(environment().items()))
