"""`secateurs check`."""

from __future__ import annotations

import click

from secateurs.cli import options
from secateurs.cli.output import print_json
from secateurs.data import first_batch
from secateurs.experiments.specs import build_model, pretrained_path, read_data
from secateurs.huggingface.text import TextOptions
from secateurs.pruning import check as check_model


@click.command()
@options.model
@options.shape
@click.option("--data", default="", help=f"{options.DATA_HELP} Replaces --input.")
@options.keep
@options.kinds
@options.as_json
def check(
    model: str,
    shape: tuple[int, ...] | None,
    data: str,
    keep: tuple[str, ...],
    kinds: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the units that can be removed from a model, and those that cannot, with the reasons. Changes nothing."""
    text = TextOptions(pretrained_path(model))
    examples = first_batch(read_data(data or "random:1", shape, text=text)).sample()
    report = check_model(build_model(model), examples, keep, kinds or None)
    if not as_json:
        print(report)
        return
    groups = [
        {
            "name": group.name,
            "kind": group.kind,
            "units": group.size,
            "members": list(map(str, group.members)),
            "inexact": group.inexact,
        }
        for group in report.structure.groups.values()
    ]
    frozen, failed = dict(report.structure.frozen), report.failed
    print_json({"groups": groups, "frozen": frozen, "failed": failed, "prunable": report.prunable, **vars(report.cost)})
