"""ResNet-20 and ResNet-56 for CIFAR-10, pruned globally to a budget of MACs by every criterion and by Torch-Pruning.

What a criterion is worth by itself and what it is worth in the product are told apart. *Cut* is the pruned network as
it is; *compensated* is the same with the units that stay taking over for those that went; each is shown as it is and
with batch norm recalibrated. *Recovered* is fine-tuned as well, by the same recipe with the same number of images for
all. Criteria, compensation, recalibration and Torch-Pruning's gradients all see the same training images, other ones
for each seed.

The shortcuts between stages pad the residual stream with channels of zeros. Secateurs leaves the padding as it is, and
can prune the inner channels of each block and the channels with which the stream begins; or (*streams kept*) the inner
channels alone. With *multiples of 8* all widths are, for the sake of speed. Torch-Pruning is told to keep the streams;
or (*as it comes*) it prunes whatever it would but the classifier. It goes step by step until the budget is met, with
gradients of the dense network. `hessian` is its Hessian importance as published, which keeps the last sample's gradient
alone; in `hessian-summed` we let it sum over all.

*Recalibrated* sets the running statistics of batch norm to averages over the images, as Torch-Pruning's users do.
*Recalibrated by the dense network*, which is what `sc.prune` does, gives each channel the mean and the variance after
batch norm that it has in the dense network on the same images. Torch-Pruning has no such thing: there its choice of
units is taken over as a plan of ours (which leaves the same network, to the bit), and compensated and recalibrated like
any other.

How units compete is what suits the criterion unless it is said: all of the network (*global*), all for the MACs that
they save (*per-cost*, which suits `obs` and `taylor-gate`), all by their score over the mean of those that are left in
their layer (*relative*, which suits norms, and is what Torch-Pruning's steps come to), or those of a layer (*local*),
so that every layer keeps about the same share. With the budget `effective` (EMP) the MACs are whatever the scores say.
SSI cuts in rounds, scoring anew after each. `obs` without more is what `sc.prune` does if nobody says otherwise.

What we see: the default is ahead of everything else before training, and level with the best or a little ahead after
it. Three things make that, and each helps any criterion. Compensation is the largest. How units compete comes next:
norms taken relative to what is left of a layer are level with Torch-Pruning's on ResNet-56 and ahead on ResNet-20,
where they are far behind if all units compete as they are, and Taylor's gates gain by competing for MACs. And on
ResNet-20 plain recalibration takes accuracy even where nothing was pruned. Of the papers' criteria by
themselves NDI and SSI are ahead of chance by little, NEXP behind it. EMP by norms removes next to nothing, and by
Taylor scores nearly everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from benchmarks.real import cifar_cell, peer
from benchmarks.real.experiment import Experiment
from benchmarks.real.pictures import Picture, dots
from benchmarks.real.record import Line, Settings
from benchmarks.real.tables import Column, mean, part, rows, setting
from secateurs.training.recipe import Recovery

DEPTHS = (56, 20)
SEEDS = (0, 1, 2)
CRITERIA = (
    "obs", "l2", "random", "nexp", "0.5*nexp+0.5*l1", "taylor-gate", "ndi", "ssi, 5 rounds", "reversed-ssi, 5 rounds",
    "flap", "l1", "fisher", "taylor", "bn-scale", "fpgm", "chip",
)  # fmt: skip
VARIANTS = (
    "obs, local", "obs, global", "obs, multiples of 8", "taylor-gate, global", "l1, global", "l2, global", "l2, local",
    "fpgm, local", "nexp, local", "nexp, relative", "random, local", "obs, streams kept", "l2, streams kept",
    "obs, local, streams kept", "random, streams kept",
)  # fmt: skip
PEERS = tuple(peer.NAME + name for name in ("l2", "l1", "l2, local", "taylor", "hessian-summed", "hessian"))
LOCAL = tuple(f"{peer.NAME}{name}, local" for name in ("l1", "taylor"))
WHOLE = tuple(f"{peer.NAME}{name}, {cifar_cell.WHOLE}" for name in ("l1", "taylor", "hessian"))
BUDGETS = ("macs:0.5", "macs:0.4")
EFFECTIVE = ("l2", "taylor")
BOTH = ("obs",)
"""Recovered without compensation as well."""
BEST = ("obs", "l2", "taylor-gate", "torch-pruning l2")
"""Recovered by the full recipe."""
FIRST = ("obs", "l2", "random", *PEERS[:2])
"""Also recalibrated by the dense network, and recovered by the quick recipe with every seed."""
REST = {56: (*CRITERIA[3:8], *PEERS[2:]), 20: (*CRITERIA[3:], *PEERS[2:])}
"""Recovered by it with one."""

TEST = {20: 2000, 56: 1000}
"""Test images of the cheap stages."""
TRAINED = {20: 25_600, 56: 12_800}
"""Images of the quick recipe's recovery."""


def cells(recipe: str) -> list[Settings]:
    """Without training and with a little, what matters most first; or recovery by the published recipe."""
    if recipe == "full":
        how = {"train": 50_000, "epochs": 100, "rate": "step", "test": 10_000}
        return [cell for depth in DEPTHS for seed in SEEDS for cell in _recovered(BEST, how, depth, seed)]
    found: list[Settings] = [
        {"depth": depth, "method": "dense", "first": TEST[depth], "test": 10_000, "seed": 0} for depth in DEPTHS
    ]
    for budget in BUDGETS:
        found += [cell for seed in SEEDS for depth in DEPTHS for cell in _cheap(budget, depth, seed)]
    for budget in BUDGETS:
        found += [cell for seed in SEEDS for depth in DEPTHS for cell in _by_dense(budget, depth, seed)]
    found += [cell for seed in SEEDS for depth in DEPTHS for cell in _quick(FIRST, depth, seed)]
    return found + [cell for depth in DEPTHS for cell in _quick(REST[depth], depth, 0)]


def _cheap(budget: str, depth: int, seed: int) -> Iterator[Settings]:
    methods = [(name, budget) for name in (*CRITERIA, *PEERS)]
    if budget == "macs:0.5":
        methods += [(name, budget) for name in (*VARIANTS, *LOCAL)]
        methods += [(name, "effective") for name in EFFECTIVE]
        methods += [(name, budget) for name in WHOLE if seed == 0]
    for method, its in methods:
        yield {"depth": depth, "method": method, "budget": its, "images": 1024, "test": TEST[depth], "seed": seed}


def _by_dense(budget: str, depth: int, seed: int) -> Iterator[Settings]:
    how = {"images": 1024, "test": TEST[depth], "recalibrated": "by the dense network"}
    for method in FIRST:
        yield {"depth": depth, "method": method, "budget": budget, **how, "seed": seed}


def _quick(methods: Sequence[str], depth: int, seed: int) -> list[Settings]:
    how = {"train": TRAINED[depth], "epochs": 1, "rate": "cosine", "test": 10_000}
    return list(_recovered(methods, how, depth, seed))


def _recovered(methods: Sequence[str], how: Settings, depth: int, seed: int) -> Iterator[Settings]:
    for method in methods:
        for compensate in (False,) if method in PEERS else (True, False) if method in BOTH else (True,):
            cell = {"depth": depth, "method": method, "budget": "macs:0.5", "images": 1024, **how}
            yield {**cell, "compensate": compensate, "seed": seed}


def tables(lines: Sequence[Line]) -> str:
    """For each network and budget, the cheap stages, best first; then what recovered."""
    text = ""
    for depth in DEPTHS:
        its = [line for line in lines if line.settings["depth"] == depth]
        dense = [line for line in its if line.settings["method"] == "dense"]
        if dense:
            text += f"### ResNet-{depth}\n\n" + _dense(dense[0])
            for budget in (*BUDGETS, "effective"):
                title = f"{budget}, nothing trained"
                text += _part(title, _of(its, budget, trained=False), STAGES, dense[0])
                by_dense = _of(its, budget, trained=False, by_dense=True)
                text += _part(f"{title}, recalibrated by the dense network", by_dense, STAGES, dense[0])
            for epochs in (1, 100):
                found = [line for line in _of(its, "macs:0.5", trained=True) if line.settings["epochs"] == epochs]
                text += _part(_recipe(found), found, TRAINING, dense[0])
    return text


def _of(lines: Sequence[Line], budget: str, trained: bool, by_dense: bool = False) -> list[Line]:
    wanted = budget, trained, by_dense
    return [its for its in lines if (its.settings.get("budget"), "epochs" in its.settings, _is_by_dense(its)) == wanted]


def _is_by_dense(line: Line) -> bool:
    return "recalibrated" in line.settings


def _recipe(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    its, recipe = lines[0].settings, Recovery()
    return (
        f"macs:0.5, recovered: {its['epochs']} epoch(s) of {its['train']:,} images, SGD {recipe.lr:g}, batch "
        f"{cifar_cell.BATCH}, weight decay {recipe.weight_decay:g}, {its['rate']} rate, crops and flips"
    )


def _dense(line: Line) -> str:
    its = line.figures
    text = (
        f"Dense: {100 * its['accuracy']:.2f} on all test images, {100 * its['first']:.1f} on the first "
        f"{line.settings['first']:,}, on which the cheap stages are measured; {its['macs'] / 1e6:.1f} M MACs, "
        f"{its['params'] / 1e3:.0f} k parameters. "
    )
    if "first, recalibrated" in its:
        text += f"On these {100 * its['first, recalibrated']:.1f} with batch norm recalibrated and nothing pruned. "
    if its["streams left alone"] is None and its["as it comes"]:
        text += (
            "What Torch-Pruning leaves computes what the dense network does without the removed units if it keeps the "
            f"streams; as it comes, it does not (largest error of an output {its['as it comes']}, relative). "
        )
    return text + "\n\n"


def _left(cost: str, dense: Line) -> Column:
    return mean(cost, 1, 100 / dense.figures[cost])


STAGES = {
    "cut": mean("cut"),
    "cut, recalibrated": mean("cut, recalibrated"),
    "compensated": mean("compensated"),
    "compensated, recalibrated": mean("compensated, recalibrated"),
}
TRAINING = {
    "compensated": lambda its: "yes" if its[0].settings["compensate"] else "no",
    "recovered": mean("recovered", 2),
}
ORDER = ("recovered", "compensated, recalibrated", "cut, recalibrated")


def _part(title: str, lines: Sequence[Line], columns: dict[str, Any], dense: Line) -> str:
    ordered = sorted(rows(lines), key=_last, reverse=True)
    costs = {"MACs left, %": _left("macs", dense), "parameters left, %": _left("params", dense)}
    return part(title, [line for row in ordered for line in row], {"criterion": setting("method"), **costs, **columns})


def _last(row: Sequence[Line]) -> float:
    figure = next(name for name in ORDER if name in row[0].figures)
    return fmean(line.figures[figure] for line in row)


def pictures(lines: Sequence[Line]) -> list[Picture]:
    """For each network, all methods at half the MACs, with what recalibration makes of them."""
    found = []
    for depth in DEPTHS:
        its = [line for line in lines if line.settings["depth"] == depth]
        dense = [line for line in its if line.settings["method"] == "dense"]
        half = _of(its, BUDGETS[0], trained=False)
        if dense and half:
            ordered = {row[0].settings["method"]: row for row in sorted(rows(half), key=_last, reverse=True)}
            title = f"ResNet-{depth} at half the MACs, nothing trained"
            found.append(dots(f"cifar-{depth}", title, ordered, ORDER[1:], dense[0].figures["first"]))
    return found


EXPERIMENT = Experiment(
    "cifar", "CIFAR-10: ResNet-20 and ResNet-56", __doc__ or "", cells, cifar_cell.measure, tables, pictures
)
