"""`secateurs features`: rank the features of the input."""

from __future__ import annotations

from pathlib import Path

import click

from secateurs.cli import options
from secateurs.cli.output import print_json, progress
from secateurs.experiments.specs import build_model, read_data
from secateurs.pruning import rank_features


@click.command()
@options.model
@options.data
@click.option("--method", default="taylor", show_default=True, help="taylor (needs labels), magnitude or variance.")
@click.option(
    "--budget", default="effective", show_default=True, help="How many features are kept: effective, or keep:F."
)
@options.path_option("--out", "New npz file for scores and kept features.")
@options.shape
@options.batch_size()
@options.as_json
def features(
    model: str,
    data: str,
    method: str,
    budget: str,
    out: Path | None,
    shape: tuple[int, ...] | None,
    batch_size: int,
    as_json: bool,
) -> None:
    """Score the features of the input (pixels, columns), and choose those to keep."""
    batches = read_data(data, shape, batch_size)
    ranking = rank_features(build_model(model), batches, method, budget, progress=progress(as_json))
    if out is not None:
        ranking.save(out)
    if as_json:
        kept = int(ranking.keep.sum())
        losses = {"loss_before": ranking.loss_before, "loss_after": ranking.loss_after}
        print_json({"features": ranking.keep.numel(), "kept": kept, **losses, "scores": ranking.scores.tolist()})
        return
    print(ranking, end="")
