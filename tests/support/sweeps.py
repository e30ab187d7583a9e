"""A model, its data and a job for the tests of sweeps."""

import numpy as np
from support.jobs import make_job
from support.studied import write_files

from secateurs.training.recipe import Recovery

SCRIPT = """
import os, signal
from pathlib import Path
from torch import nn

def net():  # not seeded: all cells must still start from the same weights
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 2))

def dying():
    calls = Path("calls")
    calls.write_text(calls.read_text() + "." if calls.exists() else ".")
    if len(calls.read_text()) == 2:  # the first call is in the parent, the second in the first worker
        os.kill(os.getpid(), signal.SIGKILL)
    return net()
"""


def write_sweep_files(directory):
    """Write the models of `SCRIPT` and labelled data to a directory."""
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    return write_files(directory, SCRIPT, data=(x, (x.sum(1) > 0).astype("int64")))


def sweep_job(factory="net", **options):
    """A job on the files in the working directory."""
    settings = {"samples": 40, "batch_size": 20, "recovery": Recovery(epochs=1), **options}
    return make_job(f"py:model.py:{factory}", "npz:data.npz", test="npz:data.npz", **settings)
