"""A small model and its data, named as the command line names them, for the tests of studies."""

import numpy as np

from secateurs.experiments.job import Job

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))
"""


def named(tmp_path, samples=80, classes=True):
    """A job on a model and data that are written to a directory."""
    (tmp_path / "model.py").write_text(MODEL)
    x = np.random.default_rng(0).normal(size=(samples, 6)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, y=x[:, :3].argmax(1) if classes else x[:, :3])
    data = f"npz:{tmp_path / 'data.npz'}"
    return Job(f"py:{tmp_path / 'model.py'}:net", data, test=data, batch_size=16)
