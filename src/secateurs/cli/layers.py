"""`secateurs layers`: whole layers, ranked and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.options import BatchSize, Model, Seed, Shape, shape_of
from secateurs.cli.output import Json, print_json, progress
from secateurs.cli.single import Data


def layers(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="New directory for a model of hf:, without these layers.")] = None,
    criterion: Annotated[str, typer.Option(help="block-influence or random; or reversed- and one of these.")] = "",
    budget: Annotated[str, typer.Option(help="How many layers are kept: keep:F, or effective.")] = "keep:0.75",
    shape: Shape = "",
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """See which layers of a model hardly change what goes through them, and drop them whole."""
    from secateurs.data import first_batch
    from secateurs.depth import INFLUENCE, drop_layers, rank_layers
    from secateurs.persist import check_free, write_pretrained
    from secateurs.pretrained import Pretrained
    from secateurs.sources import build, pretrained, read_data
    from secateurs.text import TextOptions

    path = pretrained(model)
    if out is not None:
        if not path:
            raise typer.BadParameter("only models of hf: are saved; in Python, see sc.drop_layers", param_hint="--out")
        check_free(out)
    batches = read_data(data, shape_of(shape), batch_size, seed=seed, text=TextOptions(path))
    dense = build(model)
    ranking = rank_layers(dense, batches, criterion or INFLUENCE, seed=seed, progress=progress(as_json))
    dropped = ranking.lowest(budget)
    if out is not None:
        examples = first_batch(batches).sample(2)
        has_tokenizer = not Path(path).is_dir() or Path(path, "tokenizer_config.json").is_file()
        tokenizer = Pretrained(path).tokenizer() if has_tokenizer else None
        write_pretrained(out, drop_layers(dense, dropped, examples), examples, tokenizer)
    if as_json:
        print_json({"scores": dict(ranking.scores), "frozen": dict(ranking.frozen), "dropped": dropped})
        return
    print(ranking)
    print(f"{budget} drops {', '.join(dropped) or 'none'}")
    if out is not None:
        print(f"Model: {out}, for from_pretrained")
