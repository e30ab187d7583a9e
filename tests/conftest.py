from __future__ import annotations

import os
import sys
import time

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from hypothesis import settings
from torch import nn

# No test depends on the clock, and a failure says how to repeat it.
settings.register_profile("secateurs", deadline=None, print_blob=True)
settings.load_profile("secateurs")

os.environ["COLUMNS"] = "200"  # lines of tables are not wrapped

if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: more threads would wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def random_seed():
    """A seed that differs from run to run. pytest prints it when the test fails; SECATEURS_TEST_SEED repeats it."""
    seed = int(os.environ.get("SECATEURS_TEST_SEED") or time.time_ns() % 2**32)
    print(f"repeat with SECATEURS_TEST_SEED={seed}")  # noqa: T201
    return seed


@pytest.fixture
def accelerate_state():
    """No Accelerator exists before the test, and none that the test makes is left to the next."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line in this process: `run(*arguments, code=0)` checks the exit code and returns `out` and `err`."""
    from secateurs.cli import main

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["secateurs", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        assert (end.value.code or 0) == code, output
        return output

    return run


@pytest.fixture
def net():
    """A small trained-looking convolutional network and example inputs for it."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    return model


@pytest.fixture
def images():
    return torch.randn(2, 3, 6, 6)


@pytest.fixture
def batches():
    """Three labelled batches."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 3, 6, 6, generator=generator), torch.randint(4, (8,), generator=generator)) for _ in range(3)
    ]
