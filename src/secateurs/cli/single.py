"""`secateurs mask` and `secateurs features`: single weights, and features of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateurs.cli.options import BatchSize, Keep, Model, Seed, Shape, shape_of
from secateurs.cli.output import Json, print_json, progress

Data = Annotated[str, typer.Option(help="npz:, folder:, text:, jsonl: or tsv:PATH, or random:N.")]


def mask(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="New file for the weights, in the safetensors format.")],
    criterion: Annotated[str, typer.Option(help="One that scores single weights; see: secateurs list.")] = "wanda",
    budget: Annotated[str, typer.Option(help="What is kept: keep:F, effective, or N:M such as 2:4.")] = "keep:0.5",
    scope: Annotated[str, typer.Option(help="global, layer or row; by default what suits the criterion.")] = "",
    shape: Shape = "",
    keep: Keep = [],  # noqa: B006 (typer reads it)
    batch_size: BatchSize = 64,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Set single weights to zero. The model keeps its shapes: its size and speed do not change by themselves."""
    from secateurs.experiments.specs import build_model, pretrained_path, read_data
    from secateurs.huggingface.text import TextOptions
    from secateurs.pruning.unstructured import mask as run

    batches = read_data(data, shape_of(shape), batch_size, seed=seed, text=TextOptions(pretrained_path(model)))
    how = {"keep": keep, "seed": seed, "progress": progress(as_json)}
    masked = run(build_model(model), batches, criterion, budget, scope or None, **how)
    masked.save(out)
    if as_json:
        print_json({"sparsity": masked.sparsity, "kept": masked.kept, "skipped": dict(masked.skipped)})
        return
    print(masked, end="")
    print(f"Weights: {out}, for safetensors.torch.load_model")


def features(
    model: Model,
    data: Data,
    method: Annotated[str, typer.Option(help="taylor (needs labels), magnitude or variance.")] = "taylor",
    budget: Annotated[str, typer.Option(help="How many features are kept: effective, or keep:F.")] = "effective",
    out: Annotated[Path | None, typer.Option(help="New npz file for scores and kept features.")] = None,
    shape: Shape = "",
    batch_size: BatchSize = 64,
    as_json: Json = False,
) -> None:
    """Score the features of the input (pixels, columns) and see how many the model goes by."""
    from secateurs.experiments.specs import build_model, read_data
    from secateurs.pruning import rank_features

    batches = read_data(data, shape_of(shape), batch_size)
    ranking = rank_features(build_model(model), batches, method, budget, progress=progress(as_json))
    if out is not None:
        ranking.save(out)
    if as_json:
        kept = int(ranking.keep.sum())
        losses = {"loss_before": ranking.loss_before, "loss_after": ranking.loss_after}
        print_json({"features": ranking.keep.numel(), "kept": kept, **losses, "scores": ranking.scores.tolist()})
        return
    print(ranking, end="")
