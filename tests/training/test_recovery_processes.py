"""Training in two processes gives the same result as training in one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.states import equal_states
from support.train_together import CASES, GATHERED, GLOBAL, OWN, RECIPE, batches, network, patient
from torch.testing import assert_close

import secateurs as sc

pytestmark = pytest.mark.slow  # starts processes

SCRIPT = Path(__file__).parents[1] / "support" / "train_together.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Losses, best epoch and weights of each of two processes, per case."""
    out = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    size = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env={**os.environ, **size, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        for process in started:
            _, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in started:
            process.kill()
    return {name: [torch.load(out / f"{name}-{rank}.pt") for rank in "01"] for name in [*CASES, "errors"]}


@pytest.mark.parametrize("case", CASES)
def test_both_processes_have_the_same_bits(results, case):
    (losses, best, weights), (other_losses, other_best, other_weights) = results[case]
    assert losses == other_losses
    assert best == other_best
    assert equal_states(weights, other_weights)


def paired(numbers):
    """Join pairs of batches: a batch of one process for each step of two processes."""
    own = batches(OWN)
    return [tuple(torch.cat(parts) for parts in zip(own[a], own[b], strict=True)) for a, b in numbers]


ALONE = {
    "list": lambda model: sc.finetune(model, batches(GLOBAL), RECIPE),
    "loader": lambda model: sc.finetune(model, batches(GLOBAL), RECIPE),
    "shard": lambda model: sc.finetune(model, batches(GLOBAL), RECIPE),
    "resumed": lambda model: sc.finetune(model, batches(GLOBAL), RECIPE),
    "accumulate": lambda model: sc.finetune(model, batches(GLOBAL), GATHERED),
    "patience": lambda model: patient(model, GLOBAL),
    "uneven": lambda model: sc.finetune(model, paired([(0, 1), (2, 3), (4, 5), (6, 7), (8, 0)]), RECIPE),
    "uneven shard": lambda model: sc.finetune(model, paired([(0, 4), (1, 5), (2, 6), (3, 7), (0, 8)]), RECIPE),
}


@pytest.mark.parametrize("case", ALONE)
def test_two_processes_equal_one_process(results, case):
    losses, best, weights = results[case][0]
    model = network()
    history = ALONE[case](model)
    assert_close(losses, history.train, rtol=1e-5, atol=1e-5)
    assert best == history.best
    assert_close(weights, model.state_dict(), rtol=0, atol=1e-5)


def test_patience_ends_the_training_of_both_processes(results):
    losses, best, _ = results["patience"][0]
    assert len(losses) == best + 3 < 8


def test_an_error_of_one_process_is_raised_by_all(results):
    (unwritable, lonely), others = results["errors"]
    assert "cannot be written" in unwritable
    assert "torch.distributed has 2 processes, but the environment has 1" in lonely
    assert others == [unwritable, lonely]
