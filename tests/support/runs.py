"""A small network, its data and its pruning in several stages, for tests of runs that are interrupted and resumed."""

import os
import subprocess
import sys

import torch
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc

SCRIPT = """
import os, signal
from pathlib import Path
import torch
from torch import nn

class Net(nn.Sequential):
    def forward(self, x):
        if Path(os.environ.get("INTERRUPT_WHEN", "never")).exists():  # Control-C at a moment that no clock decides
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)

def net():
    torch.manual_seed(0)
    return Net(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 12, 3),
                         nn.Dropout(0.1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2))
"""
DURING_TRAINING = {"schedule": sc.Schedule(3, "cubic", during_training=True), "between": None, "criterion": "ndi"}
"""Options of `prune_in_stages` that prune while the model trains."""


def build_network():
    """The network of `SCRIPT`, with the same weights each time."""
    namespace = {}
    exec(SCRIPT, namespace)
    return namespace["net"]()


def labelled_images():
    """48 labelled images."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, 3, 8, 8, generator=generator)
    return TensorDataset(x, (x.mean((1, 2, 3)) > 0).long())


def calibration_batches(data):
    """The images in batches of twelve."""
    return [data[i : i + 12] for i in range(0, 48, 12)]


def prune_in_stages(data, directory, progress=sc.utils.silent, **options):
    """Prune the network in two rounds, with training between and after them."""
    settings = {
        "criterion": "taylor", "budget": "macs:0.4", "seed": 3, "schedule": sc.Schedule(2, "cubic"),
        "between": sc.Recovery(epochs=1), "recovery": sc.Recovery(epochs=3, optimizer="adamw", lr=0.003),
        "measure": lambda model: {"accuracy": sc.accuracy(model, [data[:]])},
        "training": DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(0)),
    }  # fmt: skip
    settings |= options
    return sc.prune(build_network(), calibration_batches(data), directory=directory, progress=progress, **settings)


def start_command(directory, *arguments, variables=None, module=("secateurs",), **options):
    """Start `python -m secateurs ARGUMENTS` in a directory, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(variables or {})}
    command = [sys.executable, "-m", *module, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=directory, env=environment, **pipes, **options)
