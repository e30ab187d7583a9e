"""Pruning at initialisation: a small VGG cut before it is trained on CIFAR-10, and trained then.

Networks of a seed begin with the same weights and are all trained alike on the same images. Batch norm gets the
statistics of the inputs that the criterion sees, before it scores: without them a network at initialisation would be
scored as if it had none. `snip` and `grasp` see labels too, `synflow` sees nothing, and is iterative by itself.

*Noise* are inputs drawn from a normal distribution. NEXP's paper claims that few samples do, and that they need not be
real: so the last column tells how many of the removed units NEXP with all the real images would remove as well, in the
same layers; where every layer keeps a fifth, four fifths of random units are.

With the scope *local* every layer keeps the same share: the networks have the same shape, and differ in which of the
random weights they begin with. With *global* all units compete, as the papers have it, and what a criterion decides are
the layers' widths: *least kept* is the share of the units that is left in the layer that lost most. Secateurs keeps at
least one unit of each layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import secateurs as sc
from benchmarks.real.data import batches, cifar10
from benchmarks.real.experiment import Experiment
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.small_vgg import from_scratch, train, untrained
from benchmarks.real.tables import Column, mean, setting, table

SEEDS = (0, 1, 2)
WAYS = (("keep:0.2", "local"), ("keep:0.2", "global"), ("keep:0.5", "local"))
"""Budgets and scopes."""
METHODS = ("nexp", "snip", "synflow", "grasp", "random", "l1")
INPUTS = {"512 images": ("images", 512), "64 images": ("images", 64), "64 of noise": ("noise", 64)}
"""What criteria see; the first, but for NEXP."""


def cells(recipe: str) -> list[Settings]:
    """The same by every recipe; the small networks, which are trained soonest, before the others."""
    how = {"train": 10_240, "epochs": 3, "test": 5000}
    first = next(iter(INPUTS))
    seen = [("nexp", its) for its in INPUTS] + [(method, first) for method in METHODS[1:]]
    found: list[Settings] = [{"method": "dense", **how, "seed": SEEDS[0]}]
    for ways in (WAYS[:2], WAYS[2:]):
        for seed in SEEDS:
            found += [
                {"method": method, "inputs": its, "budget": budget, "scope": scope, **how, "seed": seed}
                for budget, scope in ways
                for method, its in seen
            ]
    found += [{"method": "dense", **how, "seed": seed} for seed in SEEDS[1:]]
    return found if recipe == "quick" else []


def measure(settings: Settings) -> Figures:
    """Accuracy in [0, 1] after training, and what was left of the network."""
    model, figures = untrained("relu", settings["seed"]), {}
    if settings["method"] != "dense":
        its = _cut(settings["method"], settings["inputs"], settings)
        all_real = _cut("nexp", next(iter(INPUTS)), settings)
        gone, others = its.plan.removed(), all_real.plan.removed()
        same = sum(len(set(gone[name]) & set(others[name])) for name in gone)
        figures = {
            "macs": its.cost.macs / its.dense_cost.macs,
            "params": its.cost.params / its.dense_cost.params,
            "least": min(len(group.keep) / group.units for group in its.plan.groups.values()),
            "alike": same / sum(map(len, gone.values())),
        }
        model = its.model
    train(model, from_scratch(settings["epochs"]), settings["train"], settings["seed"])
    test = batches(cifar10("test", settings["test"]), 256)
    return figures | {"accuracy": sc.accuracy(model, test)}


def _cut(method: str, inputs: str, settings: Settings) -> sc.Result:
    """A network at initialisation, pruned."""
    seed, (kind, count) = settings["seed"], INPUTS[inputs]
    real = batches(cifar10("train", count, seed))
    data = real if kind == "images" else sc.random_inputs((3, 32, 32), count, seed=seed)
    model = untrained("relu", seed)
    sc.recalibrate(model, data)
    how = {"budget": settings["budget"], "scope": settings["scope"]}
    return sc.prune(model, data, method, **how, seed=seed, compensate=False)


COLUMNS: dict[str, Column] = {
    "criterion": setting("method"),
    "inputs": setting("inputs"),
    "MACs left, %": mean("macs"),
    "parameters left, %": mean("params"),
    "least kept, %": mean("least"),
    "trained": mean("accuracy"),
    "removed as by nexp, %": mean("alike"),
}


def tables(lines: Sequence[Line]) -> str:
    """One table for each budget and scope."""
    dense = [line for line in lines if line.settings["method"] == "dense"]
    text = ""
    if dense:
        its = dense[0].settings
        text = f"Dense: {mean('accuracy')(dense)} after {its['epochs']} epochs of {its['train']:,} images.\n\n"
    for budget, scope in WAYS:
        found = [its for its in lines if (its.settings.get("budget"), its.settings.get("scope")) == (budget, scope)]
        if found:
            text += f"**{budget}, {scope}**\n\n{table(found, COLUMNS)}\n"
    return text


EXPERIMENT = Experiment("initialisation", "Pruning at initialisation", __doc__ or "", cells, measure, tables)
