"""A small VGG trained on CIFAR-10: NEXP mixed with a magnitude, and LeakyReLU against ReLU.

The network has five convolutions with batch norm and is trained here, for each seed anew, on part of the training
images; all units compete. *Cut* is the pruned network as it is; *compensated* is the same with the units that stay
taking over for those that went; each is shown as it is and with batch norm recalibrated. *Recovered* is the
compensated and recalibrated network after one short training, the same for all. The dense network is recovered as well:
it was not trained to the end, so what the training alone gives is there to compare with.

A mixture is (1 − α)·l1 + α·nexp, each divided by its mean over the layer, as in NEXP's paper; *auto* chooses an α for
every layer by the loss on every second batch. `nexp` by itself is not divided by anything, so it differs from α = 1
where layers compete; `l1` is relative to its layer anyway, and is α = 0.

LeakyReLU lets a little of what is negative through. NEXP binarises at zero, where both activations change sign alike;
`nexp-median` binarises at the unit's own median.

What we see: compensation brings all criteria, and chance, to within two points of each other, and what is left is
hardly more than the seeds differ. Of the mixtures, α = 0.4 ends about a point above both of its parts with every seed,
and *auto* on average. Which of the two activations it is makes no difference to any criterion.
"""

from __future__ import annotations

from collections.abc import Sequence

import secateurs as sc
from benchmarks.real.data import batches, cifar10
from benchmarks.real.experiment import Experiment
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.small_vgg import SLOPE, train, trained
from benchmarks.real.stages import compensated, recalibrated
from benchmarks.real.tables import Column, mean, part, setting

SEEDS = (0, 1, 2)
MIXTURES = {f"{1 - k / 5:g}*l1+{k / 5:g}*nexp": f"α = {k / 5:g}" for k in range(6)} | {
    "auto*l1+auto*nexp": "α = auto",
    "random": "random",
}
"""Of ReLU: the criterion, and how it is called."""
BOTH = ("nexp", "nexp-median", "ndi", "taylor", "l1", "random")
"""Of both activations."""
NAMES = {"relu": "ReLU", "leaky-relu": f"LeakyReLU({SLOPE:g})"}


def cells(recipe: str) -> list[Settings]:
    """The same by every recipe, a seed after the other."""
    return [
        {
            "activation": activation,
            "method": method,
            **({} if method == "dense" else {"budget": "macs:0.5", "scope": "global", "images": 512}),
            "trained": 20_480,
            "epochs": 3,
            "recovery": 5120,
            "test": 2000,
            "seed": seed,
        }
        for seed in SEEDS
        for activation in NAMES
        for method in ("dense", *((*MIXTURES, *BOTH[:-1]) if activation == "relu" else BOTH))
        if recipe == "quick"
    ]


def measure(settings: Settings) -> Figures:
    """Accuracies in [0, 1], and shares of the costs, of the dense network or of one that is pruned."""
    seed = settings["seed"]
    dense = trained(settings["activation"], settings["trained"], settings["epochs"], seed)
    test = batches(cifar10("test", settings["test"]), 256)
    if settings["method"] == "dense":
        its = sc.cost(dense, test[0][0][:1])
        figures, model = {"macs": its.macs, "params": its.params, "cut": sc.accuracy(dense, test)}, dense
    else:
        images = batches(cifar10("train", settings["images"], seed))
        how = {"criterion": settings["method"], "budget": settings["budget"], "scope": settings["scope"]}
        result = sc.prune(dense, images, **how, seed=seed, compensate=False)
        model = compensated(result.model, result.plan, dense, images, result.structure)
        figures = {
            "macs": result.cost.macs / result.dense_cost.macs,
            "params": result.cost.params / result.dense_cost.params,
            **recalibrated(result.model, images, test, "cut"),
            **recalibrated(model, images, test, "compensated"),
        }
    train(model, sc.Recovery(), settings["recovery"], seed)
    return figures | {"recovered": sc.accuracy(model, test)}


COLUMNS: dict[str, Column] = {
    "MACs left, %": mean("macs"),
    "parameters left, %": mean("params"),
    **{name: mean(name) for name in ("cut", "cut, recalibrated", "compensated", "compensated, recalibrated")},
    "recovered": mean("recovered"),
}


def tables(lines: Sequence[Line]) -> str:
    """The mixtures, then the criteria with both activations."""
    dense = [line for line in lines if line.settings["method"] == "dense"]
    pruned = [line for line in lines if line.settings["method"] != "dense"]
    mixed = [line for line in pruned if line.settings["method"] in MIXTURES and line.settings["activation"] == "relu"]
    both = sorted((line for line in pruned if line.settings["method"] in BOTH), key=_place)
    return (
        "".join(_dense(name, [line for line in dense if line.settings["activation"] == name]) for name in NAMES)
        + part("Mixtures, ReLU", mixed, {"criterion": _called(MIXTURES, "method"), **COLUMNS})
        + part(
            "LeakyReLU against ReLU",
            both,
            {"criterion": setting("method"), "activation": _called(NAMES, "activation"), **COLUMNS},
        )
    )


def _dense(name: str, lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    its, how, recipe = lines[0].figures, lines[0].settings, sc.Recovery()
    return (
        f"{NAMES[name]}: {its['macs'] / 1e6:.1f} M MACs, {its['params'] / 1e3:.0f} k parameters; trained for "
        f"{how['epochs']} epochs of {how['trained']:,} images. Dense: {mean('cut')(lines)}; after the recovery "
        f"{mean('recovered')(lines)} (one epoch of {how['recovery']:,} images, SGD {recipe.lr:g}, crops and flips).\n\n"
    )


def _place(line: Line) -> tuple[int, int]:
    return BOTH.index(line.settings["method"]), list(NAMES).index(line.settings["activation"])


def _called(names: dict[str, str], setting: str) -> Column:
    return lambda lines: names[lines[0].settings[setting]]


EXPERIMENT = Experiment("vgg", "A small VGG on CIFAR-10: mixtures and LeakyReLU", __doc__ or "", cells, measure, tables)
