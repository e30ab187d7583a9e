"""Small models and data in files, named as the command line names them, for the tests of studies."""

import numpy as np
from support.jobs import make_job

from secateurs.experiments.job import Job
from secateurs.training.recipe import Recovery

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))
"""


def named(tmp_path, samples=80, classes=True):
    """A job on a model and data that are written to a directory."""
    x = np.random.default_rng(0).normal(size=(samples, 6)).astype("float32")
    write_files(tmp_path, MODEL, data=(x, x[:, :3].argmax(1) if classes else x[:, :3]))
    data = f"npz:{tmp_path / 'data.npz'}"
    return Job(f"py:{tmp_path / 'model.py'}:net", data, test=data, batch_size=16)


NETWORKS = """
from torch import nn
from torch.nn import functional

def net():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(),
                         nn.Linear(12, 3))

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.act, self.head = Inner(), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.act(self.inner(x)))

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x):
        return functional.gelu(self.linear(x))
"""


def write_files(directory, source, **data):
    """Write a file with models, and one file per set of inputs and labels, to a directory."""
    (directory / "model.py").write_text(source)
    for name, (x, y) in data.items():
        np.savez(directory / f"{name}.npz", x=x.astype("float32"), y=y)
    return directory


def write_clouds(directory):
    """Write `NETWORKS`, and training and test data of three clouds of points."""
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    centres = 2 * np.eye(3, 4)[labels]
    train, test = ((generator.normal(size=(60, 4)) + centres, labels) for _ in range(2))
    return write_files(directory, NETWORKS, train=train, test=test)


def cloud_job(directory, model="net", **options):
    """A job that trains one of `NETWORKS` on the clouds in a directory."""
    files = {"model": f"py:{directory / 'model.py'}:{model}", "data": f"npz:{directory / 'train.npz'}"}
    defaults = {"test": f"npz:{directory / 'test.npz'}", "recovery": Recovery(lr=0.05), "compensate": False}
    return make_job(**{**files, **defaults, **options})
