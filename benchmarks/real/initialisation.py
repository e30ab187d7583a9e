"""Pruning at initialisation: a small VGG cut before it is trained on CIFAR-10, and trained then.

What a criterion cuts is told first; then, as far as it was trained, what comes of it: networks of a seed begin with the
same weights and are all trained alike on the same images. Batch norm gets the statistics of the inputs that the
criterion sees, before it scores: without them a network at initialisation would be scored as if it had none. `snip` and
`grasp` see labels too, `synflow` sees nothing, and is iterative by itself.

*Noise* are inputs drawn from a normal distribution. NEXP's paper claims that few samples do, and that they need not be
real: so the last column tells how many of the removed units NEXP with all the real images would remove as well; where
every layer keeps a fifth, four fifths are what chance gives.

With the scope *local* every layer keeps the same share: the networks have the same shape, and differ in which of the
random weights they begin with. With *global* all units compete, as the papers have it, and what a criterion decides are
the layers' widths: *least kept* is the share of the units that is left in the layer that lost most. Secateurs keeps at
least one unit of each layer.

What we see: at initialisation it does not matter which units go, only how many of each layer. With the same widths all
criteria, and chance, end level. Where criteria choose the widths, magnitude and SynFlow, which keep some of every
layer, end ahead, and NEXP, which leaves some layers next to nothing, ends behind chance, on noise as on images.
"""

from __future__ import annotations

from collections.abc import Sequence

import secateurs as sc
from benchmarks.real.data import batches, cifar10
from benchmarks.real.experiment import Experiment
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.small_vgg import from_scratch, train, untrained
from benchmarks.real.tables import Column, mean, part, setting

SEEDS = (0, 1, 2)
WAYS = (("keep:0.2", "local"), ("keep:0.2", "global"), ("keep:0.5", "local"))
"""Budgets and scopes."""
METHODS = ("nexp", "snip", "synflow", "grasp", "random", "l1")
INPUTS = {"512 images": ("images", 512), "64 images": ("images", 64), "64 of noise": ("noise", 64)}
FIRST = next(iter(INPUTS))
"""What criteria see; all but NEXP the first."""


def cells(recipe: str) -> list[Settings]:
    """The same by every recipe: cuts, then training; small networks, which are trained soonest, first."""
    if recipe != "quick":
        return []
    how = {"train": 10_240, "epochs": 3, "test": 5000}
    cut = [cell for seed in SEEDS for cell in _cuts(WAYS, seed)]
    dense = [{"method": "dense", **how, "seed": seed} for seed in SEEDS]
    return cut + dense + [{**cell, **how} for ways in (WAYS[:2], WAYS[2:]) for s in SEEDS for cell in _cuts(ways, s)]


def _cuts(ways: Sequence[tuple[str, str]], seed: int) -> list[Settings]:
    seen = [("nexp", its) for its in INPUTS] + [(method, FIRST) for method in METHODS[1:]]
    return [
        {"method": method, "inputs": its, "budget": budget, "scope": scope, "seed": seed}
        for budget, scope in ways
        for method, its in seen
    ]


def measure(settings: Settings) -> Figures:
    """What a criterion leaves; or the accuracy in [0, 1] after training."""
    seed, dense = settings["seed"], settings["method"] == "dense"
    if "train" not in settings:
        return _shape(settings)
    model = untrained("relu", seed) if dense else _cut(settings["method"], settings["inputs"], settings).model
    train(model, from_scratch(settings["epochs"]), settings["train"], seed)
    return {"accuracy": sc.accuracy(model, batches(cifar10("test", settings["test"]), 256))}


def _shape(settings: Settings) -> Figures:
    """Shares of what is left, and of the removed units that NEXP would remove as well."""
    its = _cut(settings["method"], settings["inputs"], settings)
    gone, others = its.plan.removed(), _cut("nexp", FIRST, settings).plan.removed()
    same = sum(len(set(gone[name]) & set(others[name])) for name in gone)
    return {
        "macs": its.cost.macs / its.dense_cost.macs,
        "params": its.cost.params / its.dense_cost.params,
        "least": min(len(group.keep) / group.units for group in its.plan.groups.values()),
        "alike": same / sum(map(len, gone.values())),
    }


def _cut(method: str, inputs: str, settings: Settings) -> sc.Result:
    """A network at initialisation, pruned."""
    seed, (kind, count) = settings["seed"], INPUTS[inputs]
    data = sc.random_inputs((3, 32, 32), count, seed=seed)
    if kind == "images":
        data = batches(cifar10("train", count, seed))
    model = untrained("relu", seed)
    sc.recalibrate(model, data)
    how = {"budget": settings["budget"], "scope": settings["scope"]}
    return sc.prune(model, data, criterion=method, **how, seed=seed, compensate=False)


HEAD: dict[str, Column] = {"criterion": setting("method"), "inputs": setting("inputs")}
SHAPE: dict[str, Column] = {
    **HEAD,
    "MACs left, %": mean("macs"),
    "parameters left, %": mean("params"),
    "least kept, %": mean("least"),
    "removed as by nexp, %": mean("alike"),
}


def tables(lines: Sequence[Line]) -> str:
    """For each budget and scope what was cut, then what was trained, once there is chance to compare with."""
    text = ""
    for budget, scope in WAYS:
        found = [its for its in lines if (its.settings.get("budget"), its.settings.get("scope")) == (budget, scope)]
        text += part(f"{budget}, {scope}", [its for its in found if "train" not in its.settings], SHAPE)
        trained = [its for its in found if "train" in its.settings]
        if any(its.settings["method"] == "random" for its in trained):
            text += part(f"{budget}, {scope}, trained", trained, {**HEAD, "accuracy": mean("accuracy")})
    dense = [line for line in lines if line.settings["method"] == "dense"]
    if dense:
        how = dense[0].settings
        text += f"Dense: {mean('accuracy')(dense)} after {how['epochs']} epochs of {how['train']:,} images.\n"
    return text


EXPERIMENT = Experiment("initialisation", "Pruning at initialisation", __doc__ or "", cells, measure, tables)
