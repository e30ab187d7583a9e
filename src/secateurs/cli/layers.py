"""`secateurs layers`: whole layers, ranked and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateurs.cli.options import BatchSize, Model, Seed, Shape, shape_of
from secateurs.cli.output import Json, print_json, progress
from secateurs.cli.single import Data

if TYPE_CHECKING:
    from torch import nn

    from secateurs.budgets import Plan
    from secateurs.data import Call


def layers(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="New directory for the model without these layers.")] = None,
    criterion: Annotated[str, typer.Option(help="block-influence or random; or reversed- and one of these.")] = "",
    budget: Annotated[str, typer.Option(help="How many layers are kept: keep:F, or effective.")] = "keep:0.75",
    shape: Shape = "",
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """See which layers of a model hardly change what goes through them, and drop them whole."""
    from secateurs.budgets import Plan
    from secateurs.data import first_batch
    from secateurs.experiments.specs import build_model, pretrained_path, read_data
    from secateurs.huggingface.text import TextOptions
    from secateurs.persist import check_free
    from secateurs.pruning.depth import BLOCK_INFLUENCE, drop_layers, rank_layers
    from secateurs.structure import cost

    path = pretrained_path(model)
    if out is not None:
        check_free(out)
    batches = read_data(data, shape_of(shape), batch_size, seed=seed, text=TextOptions(path))
    dense = build_model(model)
    ranking = rank_layers(dense, batches, criterion or BLOCK_INFLUENCE, seed=seed, progress=progress(as_json))
    dropped = ranking.lowest(budget)
    form = ""
    if out is not None:
        batch = first_batch(batches)
        small = drop_layers(dense, dropped, batch.sample(2))
        before, after = (cost(model, batch.sample(1)) for model in (dense, small))
        plan = Plan(groups={}, budget=budget, scope="global", dense=before, pruned=after, frozen={})
        form = _save(out, small, plan, ranking.criterion, batch.sample(2), path)
    if as_json:
        print_json({"scores": dict(ranking.scores), "frozen": dict(ranking.frozen), "dropped": dropped})
        return
    print(ranking)
    print(f"{budget} drops {', '.join(dropped) or 'none'}")
    if out is not None:
        print(f"Model: {out}, {form}")


def _save(out: Path, small: nn.Module, plan: Plan, criterion: str, examples: Call, path: str | None) -> str:
    """Write the model, for `from_pretrained` if it was named by hf: and its class can tell it; say which."""
    from secateurs.errors import PersistError
    from secateurs.huggingface import Pretrained
    from secateurs.persist import save, write_pretrained

    why = ""
    if path:
        try:
            write_pretrained(out, small, examples, Pretrained(path).processor())
            return "for from_pretrained"
        except PersistError as error:
            why = f", not for from_pretrained: {error}"
    save(out, small, plan, {}, criterion)
    return f"for sc.load{why}"
