"""A multilayer perceptron (784-300-100-10) on MNIST: Table 1 of NDP, and what EMP says of a fully connected network.

NDP's table (../shared/papers/neural-differentiation.txt, Table 1) gives accuracies by *weight* sparsity. NDP removes
whole neurons, whose weights go with them; the methods it is set against there remove single weights. So three things
are told apart: neurons removed until so many of the *parameters* are gone; neurons removed until so many of the
*neurons* are gone; and single weights set to zero. The paper does not say how wide its network is nor how long it is
trained: its rows stand beside ours and cannot be compared figure by figure. Ours are of the last epoch; which epoch the
paper's are of, it does not say.

All begin with the same dense network of a seed, see the same training images when they are scored, and are trained by
the same recipe after the cut, with removed weights held at zero. *During training*: the cuts are made in five rounds
in the first half of that training, as NDP does. *Compensated* is what Secateurs does by itself: the units that stay
take over for those that went before anything is trained.

EMP keeps as many weights, or neurons, as its effective sample size says, times β; nothing is trained after that. Its
claims (../shared/papers/effective-model-pruning.txt): less than 0.5 percentage points lost at about 30 % sparsity, by
the magnitude of weights; and that accuracy falls off a cliff below β = 1.

What we see. EMP's first claim holds, at more sparsity than that, and by magnitude β = 1 is no cliff: accuracy falls
well below it. The rule is as good as the scores it is given: with norms of neurons it removes next to nothing, and
with their Taylor scores, which differ by far more, nearly everything, and the accuracy with it.

NDP's order of methods does not hold here. Its index is ahead of chance after training, and nowhere ahead of the norm
of a neuron's weights but at 98 %; right after the cut it is below chance in places. Cutting during training is worse
than cutting before it. What Secateurs does by itself is ahead of both at every sparsity but the last, where all three
are level, and with nothing trained by far. Single weights removed by magnitude reach what the paper's table is some
five points below: a baseline that is trained after the cut like the others is hard to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import secateurs as sc
from benchmarks.mnist import mnist
from benchmarks.real.data import Batches, batches
from benchmarks.real.experiment import Experiment
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.tables import Column, mean, pivot, setting, table
from secateurs.training.recipe import Recovery
from secateurs.utils.tables import format_mean

SEEDS = (0, 1, 2)
SPARSITIES = (50, 60, 70, 80, 90, 95, 98)
"""Per cent."""
SOME = (50, 80, 95)
"""For neurons counted, and where cuts are made during training, which takes longest."""
NEURONS = ("ndi", "ndi, during training", "l2", "random", "obs, compensated")
WAYS = {
    "neurons, by parameters": ("params", NEURONS),
    "neurons": ("keep", NEURONS),
    "single weights": ("keep", ("l1", "random")),
}
"""What is removed, the quantity of the budget, and how."""
PAPER = {
    "MP": (93.93, 93.78, 93.62, 92.89, 90.30, 83.64, 32.25),
    "WF": (94.02, 93.82, 93.77, 93.57, 91.69, 85.54, 38.26),
    "CBS": (93.96, 93.96, 93.98, 93.90, 93.14, 88.92, 55.45),
    "SSP": (93.97, 93.94, 93.80, 93.59, 92.46, 88.09, 46.25),
    "MSP": (95.97, 95.93, 95.89, 95.80, 95.55, 94.70, 90.73),
    "SpaM": (None, 98.38, 98.38, 98.35, 97.38, 89.43, None),
    "NDP": (98.55, 98.49, 98.46, 98.38, 97.45, 96.68, 94.59),
}
"""Table 1 of NDP: accuracy by weight sparsity."""
BETAS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)

BATCH = 128
DENSE = Recovery(epochs=4, lr=0.1)
AFTER = Recovery(epochs=1, lr=0.02)


def cells(recipe: str) -> list[Settings]:
    """EMP and the whole table of a seed before the next seed; the same by every recipe."""
    return [cell for seed in SEEDS for cell in (*_effective(seed), *_table(seed)) if recipe == "quick"]


def _effective(seed: int) -> list[Settings]:
    rows = [("single weights", "l1", "global", beta) for beta in BETAS]
    rows += [("single weights", "l1", "layer", 1.0), ("single weights", "wanda", "row", 1.0)]
    rows += [("neurons", name, "global", 1.0) for name in ("l1", "l2", "taylor")]
    return [
        {"removed": removed, "method": method, "scope": scope, "budget": f"effective:{beta:g}", "seed": seed}
        for removed, method, scope, beta in rows
    ]


def _table(seed: int) -> list[Settings]:
    return [
        {"removed": removed, "method": method, "sparsity": sparsity, "budget": budget, "seed": seed}
        for sparsity in SPARSITIES
        for removed, (quantity, methods) in WAYS.items()
        for budget in (f"{quantity}:{1 - sparsity / 100:.2f}",)
        for method in methods
        if sparsity in SOME or not (removed == "neurons" or "during training" in method)
    ]


def measure(settings: Settings) -> Figures:
    """Accuracies in [0, 1] of the dense network, after the cut, and after training; and what is left."""
    seed = settings["seed"]
    data, (dense, reached) = _training(), _dense(seed)
    images = batches(_drawn(seed))
    if settings["removed"] == "single weights":
        criterion, budget = settings["method"], settings["budget"]
        masked = sc.mask(dense, images, criterion, budget, settings.get("scope"), seed=seed)
        figures: Figures = {"dense": reached, "left": 1 - masked.sparsity, "cut": sc.accuracy(masked.model, _test())}
        if "sparsity" in settings:
            sc.finetune(masked.model, data, AFTER, optimizer=_held(masked), seed=seed)
            figures["recovered"] = sc.accuracy(masked.model, _test())
        return figures
    result = _pruned(dense, images, settings)
    figures = {"dense": reached, "left": _weights(result.model) / _weights(dense)}
    return figures | {stage: its["accuracy"] for stage, its in result.measured.items()}


def _pruned(dense: nn.Module, images: Batches, settings: Settings) -> sc.Result:
    criterion, *how = settings["method"].split(", ")
    during = "during training" in how
    return sc.prune(
        dense,
        images,
        criterion=criterion,
        budget=settings["budget"],
        seed=settings["seed"],
        scope=settings.get("scope"),
        compensate="compensated" in how,
        schedule=sc.Schedule(5, during_training=True) if during else None,
        recovery=AFTER if "sparsity" in settings else None,
        training=_training() if "sparsity" in settings else None,
        measure=lambda model: {"accuracy": sc.accuracy(model, _test())},
    )


def _held(masked: sc.Masked) -> Any:
    """An optimiser after whose steps the removed weights are zero again."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        its = torch.optim.SGD(parameters, momentum=AFTER.momentum, nesterov=True, weight_decay=AFTER.weight_decay)
        its.register_step_post_hook(lambda *_: masked.reapply())
        return its

    return make


def _weights(model: nn.Module) -> int:
    return sum(its.numel() for its in model.parameters() if its.dim() > 1)


@cache
def _dense(seed: int) -> tuple[nn.Module, float]:
    """Trained, and its accuracy."""
    torch.manual_seed(seed)
    layers = nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    model = nn.Sequential(nn.Flatten(), *layers)
    sc.finetune(model, _training(), DENSE, seed=seed)
    return model.eval(), sc.accuracy(model, _test())


@cache
def _training() -> DataLoader:
    data = mnist("train", 60_000)
    return DataLoader(data, None, sampler=BatchSampler(RandomSampler(data), BATCH, drop_last=False))


@cache
def _test() -> Batches:
    return batches(mnist("test", 10_000), 1000)


def _drawn(seed: int, count: int = 1024) -> TensorDataset:
    images, labels = _training().dataset.tensors  # type: ignore[attr-defined]
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    return TensorDataset(images[chosen], labels[chosen])


def tables(lines: Sequence[Line]) -> str:
    """EMP; then accuracy by sparsity for each thing that is removed, after training and before."""
    dense = {line.settings["seed"]: line.figures["dense"] for line in lines}
    text = f"Dense: {format_mean(list(dense.values()), 2, 100)}, {len(dense)} seed(s).\n\n"
    effective = [line for line in lines if "sparsity" not in line.settings]
    if effective:
        columns: dict[str, Column] = {name: setting(name) for name in ("removed", "method", "scope", "budget")}
        columns |= {"weights left, %": mean("left"), "cut": mean("cut", 2), "lost": _lost}
        text += "**EMP, nothing trained**\n\n" + table(effective, columns) + "\n"
    for removed in WAYS:
        its = [line for line in lines if line.settings["removed"] == removed and "sparsity" in line.settings]
        for stage, title in (("recovered", _recipe()), ("cut", "nothing trained")):
            text += f"**{removed}, {title}**\n\n" + _by_sparsity(removed, its, stage) + "\n" if its else ""
    return text


def _recipe() -> str:
    return f"{AFTER.epochs} epoch(s), SGD {AFTER.lr:g}, batch {BATCH}, {AFTER.lr_schedule} rate"


def _lost(lines: Sequence[Line]) -> str:
    return format_mean([line.figures["dense"] - line.figures["cut"] for line in lines], 2, 100)


def _by_sparsity(removed: str, lines: Sequence[Line], stage: str) -> str:
    """One row per method, one column per sparsity; the paper's beside ours."""
    paper: list[Any] = []
    if stage == "recovered" and removed != "neurons":
        names = {"NDP"} if removed.startswith("neurons") else PAPER.keys() - {"NDP"}
        paper = [
            [f"{name}, as printed", *(f"{its:.2f}" if its else "" for its in figures), ""]
            for name, figures in PAPER.items()
            if name in names
        ]
    methods, sparsities = ("method", WAYS[removed][1]), ("sparsity", SPARSITIES)
    return pivot(lines, "sparsity, %", methods, sparsities, mean(stage, 2), paper)


EXPERIMENT = Experiment("mnist", "MNIST: a multilayer perceptron", __doc__ or "", cells, measure, tables)
