"""How much faster a pruned network is: seconds of one forward pass beside its MACs, one thread of a CPU.

The dense network, the pruned one, and one pruned to the same budget with all widths in multiples of eight, take turns
on the same inputs, so that whatever else the machine does hits them alike; medians. A MAC is saved on paper: what that
is worth depends on what else the network does, on the batch, and on how well the runtime's kernels like the widths.
ONNX Runtime runs the graph as PyTorch exports it, with the optimisations that it makes by default. ResNet-50 has random
weights: accuracy is not at stake here. Units go by their norms (L2), those of the whole network competing.

What we see: half the MACs hardly ever make a network twice as fast by themselves. With widths as they come PyTorch
gains less than that, but for batches of MobileNetV2; ONNX Runtime, whose kernels work on blocks of channels, gains
little on ResNet-56, and is *slower* on the pruned MobileNetV2 than on the dense one. With all widths in multiples of
eight it gains most of what the MACs promise, on all three, and PyTorch gains about as much as without, or more. On a
CPU: `limits=sc.Limits(multiple=8)`, or `--multiple 8`. What that costs in accuracy is in the tables of CIFAR-10.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import secateurs as sc
from benchmarks.cifar_resnet import resnet
from benchmarks.real.experiment import Experiment
from benchmarks.real.record import Figures, Line, Settings
from benchmarks.real.tables import Column, mean, setting, table
from benchmarks.shared import SHARED
from secateurs.evaluate.latency import median_times

SEEDS = (0, 1, 2)
SECONDS = 20.0
"""For the three networks together."""
MULTIPLES = (1, 8)


def cells(recipe: str) -> list[Settings]:
    """The same by every recipe, a repetition after the other."""
    return [
        {"model": model, "runtime": runtime, "batch": batch, "criterion": "l2", "budget": "macs:0.5", "seed": seed}
        for seed in SEEDS
        for model in MODELS
        for runtime in RUNTIMES
        for batch in (1, 64)
        if recipe == "quick"
    ]


def measure(settings: Settings) -> Figures:
    """Seconds of one pass of each network, what they cost, and by how much two runtimes differ at most."""
    torch.manual_seed(settings["seed"])
    build, size = MODELS[settings["model"]]
    dense, x = build().eval(), torch.randn(settings["batch"], 3, size, size)
    how = {"criterion": settings["criterion"], "budget": settings["budget"], "scope": "global", "compensate": False}
    pruned = [sc.prune(dense, [x[:1]], **how, limits=sc.Limits(multiple=its)).model for its in MULTIPLES]
    models = [dense, *pruned]
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        actions = [RUNTIMES[settings["runtime"]](model, x, Path(scratch) / str(k)) for k, model in enumerate(models)]
        for model, action in zip(models, actions, strict=True):
            torch.testing.assert_close(torch.as_tensor(action()), model(x), rtol=1e-3, atol=1e-3)
        seconds = median_times(actions, SECONDS)
    costs = [sc.cost(model, x[:1]) for model in models]
    figures = {"dense": seconds[0], "macs": costs[0].macs}
    for multiple, its, spent in zip(MULTIPLES, costs[1:], seconds[1:], strict=True):
        figures |= {
            f"seconds, {multiple}": spent,
            f"speed-up, {multiple}": seconds[0] / spent,
            f"MACs, {multiple}": costs[0].macs / its.macs,
        }
    return figures


def _eager(model: nn.Module, x: Tensor, _: Path) -> Callable[[], Any]:
    return partial(model, x)


def _onnxruntime(model: nn.Module, x: Tensor, path: Path) -> Callable[[], Any]:
    import onnxruntime

    torch.onnx.export(model, (x,), str(path), dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, inputs)[0]


def _torchvision(name: str, weights: str | None) -> nn.Module:
    import benchmarks.torchvision_ops  # noqa: F401  (first: it makes torchvision importable)

    # isort: split
    import safetensors.torch
    from torchvision import models

    model = getattr(models, name)()
    if weights:
        model.load_state_dict(safetensors.torch.load_file(SHARED / "weights" / weights))
    return model


RUNTIMES: dict[str, Callable[[nn.Module, Tensor, Path], Callable[[], Any]]] = {
    "PyTorch": _eager,
    "ONNX Runtime": _onnxruntime,
}
MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-56": (partial(resnet, 56), 32),
    "MobileNetV2": (partial(_torchvision, "mobilenet_v2", "mobilenet_v2.safetensors"), 224),
    "ResNet-50": (partial(_torchvision, "resnet50", None), 224),
}
"""By name: the network, and the rows and columns of its inputs."""


def tables(lines: Sequence[Line]) -> str:
    """One row per network, runtime and batch."""
    columns: dict[str, Column] = {
        "network": setting("model"),
        "runtime": setting("runtime"),
        "batch": setting("batch"),
        "dense, ms": mean("dense", 1, 1e3),
        "MACs": mean("MACs, 1", 2, 1),
        "speed-up": mean("speed-up, 1", 2, 1),
        "MACs, multiples of 8": mean("MACs, 8", 2, 1),
        "speed-up, multiples of 8": mean("speed-up, 8", 2, 1),
    }
    return "MACs and speed-up: the dense network's, divided by the pruned one's.\n\n" + table(lines, columns)


EXPERIMENT = Experiment("latency", "Latency: is my pruned model faster?", __doc__ or "", cells, measure, tables)
