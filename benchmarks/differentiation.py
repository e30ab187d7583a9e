"""Neural differentiation on MNIST: `python -m benchmarks.differentiation` trains with and without the regulariser.

A small convolutional network is trained on 20,000 images for 4 epochs, without `differentiation_loss` and with two
strengths of it. The strengths were fixed beforehand, by a trial on scikit-learn's digits. All figures are of the last
epoch, on the 10,000 test images, by which nothing was chosen (mean correlation, dead units and silhouette: on the first
2,000), as mean ± standard deviation over 3 seeds. Pruning removes half of the units of every layer; then the batch norm
statistics are recalibrated, without compensation and without training. "Better" and "worse" are differences of means
larger than both standard deviations together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.progress import track as progress
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc
from benchmarks.listing import listed
from benchmarks.mnist import Net, mnist
from secateurs.evaluate.quality import accuracy
from secateurs.observe.observe import observe
from secateurs.observe.samples import Pooled
from secateurs.structure.structure import Structure
from secateurs.training.differentiation_loss import differentiation_loss
from secateurs.training.track import Tracker, track
from secateurs.utils.environment import environment
from secateurs.utils.restore import evaluating

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "differentiation.svg"
SEEDS = (0, 1, 2)
STRENGTHS = (0.0, 1.0, 10.0)
CRITERIA = ("ndi", "l1", "random")
TRACKED = ["ndi", "diversity", "informativeness", "fisher"]
SETTINGS: dict[str, Any] = {
    "train": 20_000, "epochs": 4, "batch_size": 128, "optimizer": "Adam", "lr": 1e-3, "calibration": 512, "every": 25,
    "budget": "keep:0.5", "scope": "local", "recalibration": 2000,
}  # fmt: skip


def trained(seed: int, strength: float, data: TensorDataset, tracked: bool) -> tuple[Net, Structure, Tracker | None]:
    """The network after training; if asked, with what the criteria said meanwhile."""
    torch.manual_seed(seed)
    model, x = Net(), data.tensors[0]
    structure = sc.trace(model, x[:2])
    tracker = track(model, calibration(data), TRACKED, SETTINGS["every"], structure=structure) if tracked else None
    differentiation = differentiation_loss(model, structure, strength) if strength else None
    optimizer = torch.optim.Adam(model.parameters(), SETTINGS["lr"])
    loader = DataLoader(data, SETTINGS["batch_size"], shuffle=True, generator=torch.Generator().manual_seed(seed))
    for _ in range(SETTINGS["epochs"]):
        for x, y in loader:
            with differentiation or nullcontext():
                loss = functional.cross_entropy(model(x), y)
            if differentiation:
                loss = loss + differentiation()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if tracker:
                tracker.step()
    return model.eval(), structure, tracker


def calibration(data: TensorDataset) -> list[tuple[Tensor, ...]]:
    """The training images that criteria look at."""
    return [data[: SETTINGS["calibration"]]]


def correlation(model: Net, structure: Structure, images: Tensor) -> tuple[float, float]:
    """The mean |r| of two different units of a layer that both vary, and the share of units that do not vary."""
    taps = {name: group.after[0] for name, group in structure.groups.items()}
    seen = observe(model, [images], dict.fromkeys(taps.values(), (Pooled,)))
    found, dead, units = [], 0, 0
    for tap in taps.values():
        z = seen[tap, Pooled].values
        varies = z.std(0) > 0
        r = torch.corrcoef(z[:, varies].T).abs().fill_diagonal_(0)
        found.append(float(r.sum() / (len(r) * (len(r) - 1))))
        dead, units = dead + int((~varies).sum()), units + len(varies)
    return mean(found), dead / units


def measured(
    model: Net, structure: Structure, train: TensorDataset, test: TensorDataset, seed: int
) -> dict[str, float]:
    """Every figure of one trained network."""
    loader, (images, labels) = DataLoader(test, 1000), test[:2000]
    correlated, dead = correlation(model, structure, images)
    with evaluating(model):
        silhouette = silhouette_score(model.penultimate(images).numpy(), labels.numpy())
    row = {"accuracy": accuracy(model, loader), "mean |r|": correlated, "dead units": dead, "silhouette": silhouette}
    for criterion in CRITERIA:
        options: dict[str, Any] = {"budget": SETTINGS["budget"], "scope": SETTINGS["scope"]}
        result = sc.prune(model, calibration(train), criterion=criterion, seed=seed, compensate=False, **options)
        sc.recalibrate(result.model, [train[: SETTINGS["recalibration"]]])
        row[f"half by {criterion}"] = accuracy(result.model, loader)
    return {name: float(value) for name, value in row.items()}


def trajectories(tracker: Tracker) -> list[dict[str, Any]]:
    """The mean over the units of each layer, per record and criterion."""
    return [
        {"step": record.step, "criterion": criterion, "group": group, "mean": float(its.mean())}
        for record in tracker.history
        for criterion, scores in record.scores.items()
        for group, its in scores.items()
    ]


def spread(values: Sequence[float], percent: bool) -> str:
    """Mean ± standard deviation."""
    scale, digits = (100, 2) if percent else (1, 3)
    return f"{scale * mean(values):.{digits}f} ± {scale * stdev(values):.{digits}f}"


def verdict(rows: list[dict[str, Any]], name: str) -> str:
    """Whether a figure changes with the strongest regularisation by more than both spreads together, and how."""
    without, with_it = ([row[name] for row in rows if row["strength"] == s] for s in (STRENGTHS[0], STRENGTHS[-1]))
    change = mean(with_it) - mean(without)
    if abs(change) <= stdev(without) + stdev(with_it):
        return "no clear change"
    return "better" if (change < 0) == (name in ("mean |r|", "dead units")) else "worse"


def page(rows: list[dict[str, Any]], means: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    names = [name for name in rows[0] if name not in ("strength", "seed")]
    lines = [f"# Neural differentiation\n\n{(__doc__ or '').strip()}\n"]
    lines += [f"Measured with {', '.join(f'{k} {v}' for k, v in environment().items())}.\n"]
    headers = [*(f"strength {s:g}" for s in STRENGTHS), f"strength {STRENGTHS[-1]:g} against {STRENGTHS[0]:g}"]
    lines += ["| | " + " | ".join(headers) + " |", "|---" * (1 + len(headers)) + "|"]
    for name in names:
        percent = name not in ("mean |r|", "silhouette")
        cells = [spread([r[name] for r in rows if r["strength"] == s], percent) for s in STRENGTHS]
        cells.append(verdict(rows, name))
        lines.append(f"| {name}{', %' if percent else ''} | ".replace("|r|", "\\|r\\|") + " | ".join(cells) + " |")
    first, last = means[0]["step"], means[-1]["step"]
    lines += [
        f"\nMean score of each layer at steps {first} and {last}, seed 0 without the regulariser (see the figure):\n"
    ]
    groups = list(dict.fromkeys(its["group"] for its in means))
    lines += ["| | " + " | ".join(groups) + " |", "|---" * (1 + len(groups)) + "|"]
    for criterion in TRACKED:
        its = {(m["group"], m["step"]): m["mean"] for m in means if m["criterion"] == criterion}
        cells = [f"{its[group, first]:.3g} → {its[group, last]:.3g}" for group in groups]
        lines.append(f"| {criterion} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all; write the figures, the page and the picture."""
    if listed(f"seed={seed} strength={strength:g}" for seed in SEEDS for strength in STRENGTHS):
        return
    train, test = mnist("train", SETTINGS["train"]), mnist("test", 10_000)
    rows, means = [], []
    runs = [(seed, strength) for seed in SEEDS for strength in STRENGTHS]
    for seed, strength in progress(runs, "training and pruning", console=Console(stderr=True)):
        model, structure, tracker = trained(seed, strength, train, tracked=(seed, strength) == (0, 0))
        if tracker:
            means = trajectories(tracker)
            PICTURE.write_text(tracker.figure().replace("<svg", '<svg style="background: white"', 1))
        rows.append({"strength": strength, "seed": seed, **measured(model, structure, train, test, seed)})
    settings = {**SETTINGS, "seeds": SEEDS, "strengths": STRENGTHS, "criteria": CRITERIA, "tracked": TRACKED}
    found = {"environment": environment(), "settings": settings, "rows": rows, "trajectories": means}
    (RESULTS / "differentiation.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "differentiation.md").write_text(page(rows, means))


if __name__ == "__main__":
    main()
