"""One cell of the CIFAR-10 experiment: a network pruned in one way, measured at every stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import secateurs as sc
from benchmarks.cifar_resnet import resnet
from benchmarks.real import peer
from benchmarks.real.data import Batches, batches, cifar10, training
from benchmarks.real.record import Figures, Settings
from benchmarks.real.stages import compensated, recalibrated
from secateurs.budgets import Scope
from secateurs.observe.observe import Observations, observe
from secateurs.surgery.compensate import compensation_statistics
from tests.support.oracle import wrong

BATCH = 128
WHOLE = "as it comes"
"""What the names of Torch-Pruning's methods say where it prunes residual streams as well."""


def measure(settings: Settings) -> Figures:
    """Accuracies in [0, 1], and costs, of the dense network or of one that is pruned as the settings say."""
    model = resnet(settings["depth"])
    if settings["method"] == "dense":
        return _dense(model, settings)
    images = batches(cifar10("train", settings["images"], settings["seed"]))
    test = batches(cifar10("test", settings["test"]), 256)
    if "epochs" in settings:
        return _recovered(model, settings, images, test)
    theirs, by_dense = settings["method"].startswith(peer.NAME), "recalibrated" in settings
    if theirs and not by_dense:
        small = _by_peer(model, settings, images)
        return _costs(small) | recalibrated(small, images, test, "cut")
    small, plan = _planned_by_peer(model, settings, images) if theirs else _planned_by_us(model, settings, images)
    structure, observed = _observed(model, images, settings)
    by = (model, plan, structure) if by_dense else ()
    helped = compensated(small, plan, model, images, structure, observed)
    cut = recalibrated(small, images, test, "cut", *by)
    return _costs(small) | cut | recalibrated(helped, images, test, "compensated", *by)


_LATEST: dict[str, tuple[sc.Structure, Observations]] = {}
"""What the latest network showed on the latest images: that of many cells that follow each other."""


def _observed(model: nn.Module, images: Batches, settings: Settings) -> tuple[sc.Structure, Observations]:
    """What compensation looks at, which is the same for all methods."""
    its = f"{settings['depth']} {settings['images']} {settings['seed']}"
    if its not in _LATEST:
        _LATEST.clear()
        structure = sc.trace(model, images[0][0][:2])
        _LATEST[its] = structure, observe(model, images, compensation_statistics(structure))
    return _LATEST[its]


def _recovered(model: nn.Module, settings: Settings, images: Batches, test: Batches) -> Figures:
    """Recalibrated on what the criterion saw and fine-tuned, on a GPU if there is one."""
    if settings["method"].startswith(peer.NAME):
        small = _by_peer(model, settings, images)
    else:
        small = _by_us(model, settings, images, settings["compensate"]).model
    sc.recalibrate(small, images)
    costs = _costs(small)
    data = training(cifar10("train", settings["train"], settings["seed"]), settings["seed"], BATCH)
    small.to("cuda" if torch.cuda.is_available() else "cpu")
    recipe = sc.Recovery(epochs=settings["epochs"], lr_schedule=settings["rate"])
    history = sc.finetune(small, data, recipe, seed=settings["seed"])
    return {**costs, "recovered": sc.accuracy(small, test), "loss": history.train[-1]}


def _by_peer(model: nn.Module, settings: Settings, images: Batches) -> nn.Module:
    importance, *how = settings["method"].removeprefix(peer.NAME).split(", ")
    keep = ("linear",) if WHOLE in how else _streams(model)
    share = float(settings["budget"].removeprefix("macs:"))
    return peer.pruned(model, importance, images, share, keep, "local" not in how)


def _streams(model: nn.Module) -> list[str]:
    """The classifier, and the layers that write into residual streams."""
    return [name for name, _ in model.named_modules() if name in ("linear", "conv1") or name.endswith(".conv2")]


def _planned_by_peer(model: nn.Module, settings: Settings, images: Batches) -> tuple[nn.Module, sc.Plan]:
    """What Torch-Pruning leaves, and what that is as a plan of ours: by which we leave the same."""
    small = _by_peer(model, settings, images)
    structure = sc.trace(model, images[0][0][:2], keep=_streams(model)).per_sample()
    plan = peer.plan_of(small, model, structure, settings["budget"])
    ours = sc.apply(model, plan, images[0][0][:2], structure)
    torch.testing.assert_close(ours.state_dict(), small.state_dict(), rtol=0, atol=0)
    return ours, plan


def _planned_by_us(model: nn.Module, settings: Settings, images: Batches) -> tuple[nn.Module, sc.Plan]:
    result = _by_us(model, settings, images)
    return result.model, result.plan


def _by_us(model: nn.Module, settings: Settings, images: Batches, compensate: bool = False) -> sc.Result:
    """By a method such as "l2", "obs, local, streams kept" or "ssi, 5 rounds"; units compete as suits the criterion."""
    criterion, *how = settings["method"].split(", ")
    rounds = next((int(word.removesuffix(" rounds")) for word in how if word.endswith("rounds")), 1)
    return sc.prune(
        model,
        images,
        criterion=criterion,
        budget=settings["budget"],
        seed=settings["seed"],
        keep=_streams(model) if "streams kept" in how else (),
        scope=next((word for word in how if word in list(Scope)), None),
        limits=sc.Limits(multiple=8 if "multiples of 8" in how else 1),
        schedule=sc.Schedule(rounds),
        compensate=compensate,
    )


def _costs(model: nn.Module) -> Figures:
    its = sc.cost(model, torch.zeros(1, 3, 32, 32))
    return {"macs": its.macs, "params": its.params}


def _dense(model: nn.Module, settings: Settings) -> Figures:
    """And how what Torch-Pruning leaves differs from the dense network without what it removed."""
    images, first = batches(cifar10("train", 1024, settings["seed"])), batches(cifar10("test", settings["first"]), 256)
    inputs = (torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)

    def error(keep: list[str]) -> Any:
        batch = [(inputs[0].double(), torch.zeros(4, dtype=torch.long))]
        return wrong(model, inputs, lambda twin, _: peer.pruned(twin, "l1", batch, 0.5, keep, True))

    return {
        **_costs(model),
        "accuracy": sc.accuracy(model, batches(cifar10("test", settings["test"]), 256)),
        "as it comes": error(["linear"]),
        "streams left alone": error(_streams(model)),
        **recalibrated(model, images, first, "first"),
    }
