"""`secateurs mask`: prune single weights."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.output import print_json, progress
from secateurs.experiments.specs import build_model, pretrained_path, read_data
from secateurs.huggingface.text import TextOptions
from secateurs.pruning.unstructured import mask as mask_model


@click.command()
@options.model
@options.data
@options.path_option("--out", "New file for the weights, in the safetensors format.", required=True)
@click.option(
    "--criterion",
    default="wanda",
    show_default=True,
    help="Criterion that scores single weights; see: secateurs list criteria.",
)
@click.option(
    "--budget",
    default="keep:0.5",
    show_default=True,
    help="How many weights are kept: keep:F, effective, or N:M such as 2:4.",
)
@click.option("--scope", default="", help="global, layer or row; the default depends on the criterion.")
@options.shape
@options.keep
@options.batch_size()
@options.seed
@options.as_json
def mask(
    model: str,
    data: str,
    out: Path,
    criterion: str,
    budget: str,
    scope: str,
    shape: tuple[int, ...] | None,
    keep: tuple[str, ...],
    batch_size: int,
    seed: int,
    as_json: bool,
) -> None:
    """Set single weights to zero. The model keeps its shapes, so its size and speed do not change."""
    batches = read_data(data, shape, batch_size, seed=seed, text=TextOptions(pretrained_path(model)))
    masked = mask_model(
        build_model(model),
        batches,
        criterion,
        budget,
        scope or None,
        keep=keep,
        seed=seed,
        progress=progress(as_json),
    )
    masked.save(out)
    if as_json:
        print_json({"sparsity": masked.sparsity, "kept": masked.kept, "skipped": dict(masked.skipped)})
        return
    print(masked, end="")
    print(f"Weights: {out}, for safetensors.torch.load_model")
