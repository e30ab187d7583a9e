"""`secateurs layers`: rank whole layers, and drop the lowest."""

from __future__ import annotations

from pathlib import Path

import click
from torch import nn

from secateurs.budgets import Plan
from secateurs.cli import options
from secateurs.cli.output import print_json, progress
from secateurs.data import Call, first_batch
from secateurs.errors import PersistError
from secateurs.experiments.specs import build_model, pretrained_path, read_data
from secateurs.huggingface import Pretrained
from secateurs.huggingface.text import TextOptions
from secateurs.persist import check_free, save, write_pretrained
from secateurs.pruning.depth import BLOCK_INFLUENCE, drop_layers, rank_layers
from secateurs.structure import cost


@click.command()
@options.model
@options.data
@options.path_option("--out", "New directory for the model without the dropped layers.")
@click.option(
    "--criterion",
    default=BLOCK_INFLUENCE,
    show_default=True,
    help=f"{BLOCK_INFLUENCE} or random; the prefix reversed- reverses the order.",
)
@click.option(
    "--budget", default="keep:0.75", show_default=True, help="How many layers are kept: keep:F, or effective."
)
@options.shape
@options.batch_size(8)
@options.seed
@options.as_json
def layers(
    model: str,
    data: str,
    out: Path | None,
    criterion: str,
    budget: str,
    shape: tuple[int, ...] | None,
    batch_size: int,
    seed: int,
    as_json: bool,
) -> None:
    """Rank the layers of a model by how much they change their input, and drop the lowest."""
    path = pretrained_path(model)
    if out is not None:
        check_free(out)
    batches = read_data(data, shape, batch_size, seed=seed, text=TextOptions(path))
    dense = build_model(model)
    ranking = rank_layers(dense, batches, criterion, seed=seed, progress=progress(as_json))
    dropped = ranking.lowest(budget)
    note = ""
    if out is not None:
        batch = first_batch(batches)
        small = drop_layers(dense, dropped, batch.sample(2))
        before, after = (cost(model, batch.sample(1)) for model in (dense, small))
        plan = Plan(groups={}, budget=budget, scope="global", dense=before, pruned=after, frozen={})
        note = _save(out, small, plan, ranking.criterion, batch.sample(2), path)
    if as_json:
        print_json({"scores": dict(ranking.scores), "frozen": dict(ranking.frozen), "dropped": dropped})
        return
    print(ranking)
    print(f"{budget} drops {', '.join(dropped) or 'none'}")
    if out is not None:
        print(f"Model: {out}, {note}")


def _save(out: Path, small: nn.Module, plan: Plan, criterion: str, examples: Call, path: str | None) -> str:
    """Write the model, for `from_pretrained` if possible; return a note that names the function to load it."""
    reason = ""
    if path:
        try:
            write_pretrained(out, small, examples, Pretrained(path).processor())
            return "for from_pretrained"
        except PersistError as error:
            reason = f", not for from_pretrained: {error}"
    save(out, small, plan, {}, criterion)
    return f"for sc.load{reason}"
