"""MobileNetV2 on ImageNet, cut in one shot: do depthwise networks and budgets that choose themselves behave?

Weights and images are those of ../shared: 1,000 images, one of each class, of which every second one measures and the
others (as many as the seed draws) are what criteria and compensation see. They are probably images that the network was
trained on, so that only differences count. Their middle 224 × 224 pixels are scaled to 160 × 160, which halves the
work, and costs the dense network some accuracy. Stride-2 convolutions pad as TensorFlow's do, which the weights need.
Batch norm is folded into the convolutions, as the weights come. Before anything else it gets back statistics, those of
images that do not measure, and the weights that go with them: the network computes what it did, and batch norm can be
recalibrated, whoever prunes it.

*Cut* is the pruned network as it is; *compensated* is the same with the units that stay taking over for those that
went; each is shown as it is and with batch norm recalibrated. Nothing is trained. With the budget `effective` (EMP) the
MACs are whatever the scores say. Torch-Pruning prunes what it would but the classifier.

What we see: depthwise networks take one-shot cuts badly, and it matters how they are cut. The default, `obs` with
compensation, is ahead at every budget, and by far from eight tenths of the MACs down: at six tenths it keeps about half
of the accuracy, where everything else, Torch-Pruning's importances too, keeps next to nothing. What compensation gives
and what recalibration gives add up. Norms over all layers are worse than chance. EMP keeps most of the MACs by norms
and next to nothing by Taylor scores, and the accuracy with neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import secateurs as sc
from benchmarks.real import peer
from benchmarks.real.data import Batches, batches
from benchmarks.real.experiment import Experiment
from benchmarks.real.latency import MODELS
from benchmarks.real.pictures import Curve, Picture, curves
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.stages import compensated, recalibrated
from benchmarks.real.tables import Column, mean, part, pivot, setting
from benchmarks.shared import load

IMAGES, TEST, SIZE = 128, 250, 160
UNFOLDING = 250
"""Images whose statistics batch norm gets."""
SEEDS = (0, 1, 2)
CRITERIA = ("obs", "taylor", "random", "l2", "nexp")
PEERS = tuple(peer.NAME + name for name in ("taylor", "l2"))
CURVE = ("macs:0.9", "macs:0.8", "macs:0.7", "macs:0.6", "macs:0.5")
EFFECTIVE = ("l2", "taylor")
STAGES = ("compensated, recalibrated", "compensated", "cut, recalibrated", "cut")


def cells(recipe: str) -> list[Settings]:
    """The dense network, curves, and EMP; the same by every recipe."""
    if recipe != "quick":
        return []
    methods = [(name, budget) for budget in CURVE for name in (*CRITERIA, *PEERS)]
    methods += [(name, "effective") for name in EFFECTIVE]
    return [
        {"method": method, "budget": budget, "size": SIZE, "images": IMAGES, "test": TEST, "seed": seed}
        for seed in SEEDS
        for method, budget in ([] if seed else [("dense", "macs:1")]) + methods
    ]


def measure(settings: Settings) -> Figures:
    """Accuracies in [0, 1], and costs."""
    model, test = _network(), _images(settings["test"])
    if settings["method"] == "dense":
        return {**_costs(model), "cut": sc.accuracy(model, test)}
    images = _images(settings["images"], settings["seed"])
    if settings["method"].startswith(peer.NAME):
        importance, share = settings["method"].removeprefix(peer.NAME), float(settings["budget"].removeprefix("macs:"))
        small = peer.pruned(model, importance, images, share, ["classifier.1"], True)
        return _costs(small) | recalibrated(small, images, test, "cut")
    seed, budget = settings["seed"], settings["budget"]
    result = sc.prune(model, images, criterion=settings["method"], budget=budget, seed=seed, compensate=False)
    small, helped = result.model, compensated(result.model, result.plan, model, images, result.structure)
    cut = recalibrated(small, images, test, "cut")
    return _costs(small) | cut | recalibrated(helped, images, test, "compensated")


def _costs(model: nn.Module) -> Figures:
    its = sc.cost(model, torch.zeros(1, 3, SIZE, SIZE))
    return {"macs": its.macs, "params": its.params}


@cache
def _network() -> nn.Module:
    """With a row and a column of zeros after the last ones where a convolution has stride 2, and none before."""
    model = MODELS["MobileNetV2"][0]().eval()
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.padding = (0, 0)
                setattr(parent, name, nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), layer))
    _unfold(model, _images(UNFOLDING, seed=0))
    return model


@torch.no_grad()
def _unfold(model: nn.Module, images: Batches) -> None:
    """Give batch norms that do nothing but add a bias statistics of what they are given; they put out what they did."""
    norms = [its for its in model.modules() if isinstance(its, nn.BatchNorm2d)]
    sums: dict[nn.Module, Tensor] = {}

    def add(norm: nn.Module, args: tuple[Tensor]) -> None:
        x = args[0].double()
        sums[norm] = sums.get(norm, 0) + torch.stack([its.mean((0, 2, 3)) for its in (x, x.square())]) * len(x)

    handles = [norm.register_forward_pre_hook(add) for norm in norms]
    for x, _ in images:
        model(x)
    for norm, handle in zip(norms, handles, strict=True):
        handle.remove()
        mean, square = sums[norm] / sum(len(x) for x, _ in images)
        old_mean, old_variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
        variance = (square - mean.square()).clamp(min=0)
        scale = weight / (old_variance + norm.eps).sqrt()
        bias += scale * (mean - old_mean)
        weight.copy_(scale * (variance + norm.eps).sqrt())
        old_mean.copy_(mean)
        old_variance.copy_(variance)


@cache
def _pixels() -> tuple[Tensor, Tensor]:
    """The middle of each image, uint8 [1000, 3, 224, 224] in channels-last order, and labels."""
    images, labels = load().imagenet_sample()
    return torch.from_numpy(images[:, 16:240, 16:240].copy()).movedim(-1, 1), torch.from_numpy(labels)


def _images(count: int, seed: int | None = None) -> Batches:
    """The images that measure: of every second image the first, evenly; or of the others those that the seed draws."""
    images, labels = _pixels()
    if seed is None:
        chosen = torch.arange(0, len(images), len(images) // count)
    else:
        chosen = 1 + 2 * torch.randperm(len(images) // 2, generator=torch.Generator().manual_seed(seed))[:count]
    x = functional.interpolate(images[chosen].float(), (SIZE, SIZE), mode="bilinear", antialias=True)
    x = (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    return batches(TensorDataset(x, labels[chosen]), 32)


def tables(lines: Sequence[Line]) -> str:
    """Accuracies by method and budget, at each stage, and parameters; then EMP."""
    dense = [line for line in lines if line.settings["method"] == "dense"]
    if not dense:
        return ""
    its = dense[0].figures
    text = f"Dense: {100 * its['cut']:.1f}; {its['macs'] / 1e6:.0f} M MACs, {its['params'] / 1e6:.2f} M parameters.\n\n"
    left = mean("params", 1, 100 / its["params"])
    for title, column in {**{stage: mean(stage) for stage in STAGES}, "parameters left, %": left}.items():
        text += f"**{title}**\n\n" + _curves(lines, column) + "\n"
    effective = [line for line in lines if line.settings["budget"] == "effective"]
    columns = {"MACs left, %": mean("macs", 1, 100 / its["macs"]), "parameters left, %": left}
    return text + part(
        "effective",
        effective,
        {"criterion": setting("method"), **columns, **{stage: mean(stage) for stage in STAGES}},
    )


def _curves(lines: Sequence[Line], column: Column) -> str:
    return pivot(lines, "criterion", ("method", (*CRITERIA, *PEERS)), ("budget", CURVE), column)


def pictures(lines: Sequence[Line]) -> list[Picture]:
    """The curves of the last stage that a method has."""
    title = "MobileNetV2: accuracy against what is left of the MACs"
    of = [Curve(method, STAGES[2 if method in PEERS else 0]) for method in (*CRITERIA, *PEERS)]
    dense = [line.figures["cut"] for line in lines if line.settings["method"] == "dense"]
    return [curves("mobilenet", title, lines, of, CURVE, dense[0])] if dense else []


EXPERIMENT = Experiment("mobilenet", "ImageNet sample: MobileNetV2", __doc__ or "", cells, measure, tables, pictures)
