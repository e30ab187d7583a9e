"""Checkpoints of fine-tuning: what is refused, and what a full disk leaves."""

import copy
import json
import resource
import signal
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from support.interruptions import StoppedError, stop_after
from support.resumable import copy_tensors, image_loader, random_network
from support.states import equal_states
from torch import nn

import secateurs as sc
from secateurs.errors import PersistError

LARGE = 1_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": sc.Recovery(epochs=2, lr=0.5)}, "lr was 0.01, not 0.5"),
        ({"seed": 3}, "seed was 0, not 3"),
        (
            {"model": nn.Sequential(nn.Conv2d(3, 7, 3), nn.Flatten(), nn.Linear(112, 4))},
            "another model: '0.bias'",
        ),
        ({"model": random_network().double()}, "float32"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, message):
    with pytest.raises(StoppedError):
        sc.finetune(random_network(), image_loader(), sc.Recovery(epochs=2), directory=tmp_path, progress=stop_after(1))
    call = {"model": random_network(), "recipe": sc.Recovery(epochs=2), **change}
    before = copy_tensors(call["model"])
    with pytest.raises(PersistError, match=message):
        sc.finetune(data=image_loader(), directory=tmp_path, **call)
    assert equal_states(copy_tensors(call["model"]), before)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    recipe = sc.Recovery(epochs=2)
    with pytest.raises(StoppedError):
        sc.finetune(random_network(), image_loader(), recipe, directory=tmp_path, progress=stop_after(1))
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:50], b"", content.replace(b'\\"seed\\"', b'\\"sead\\"')):
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises(PersistError, match="Delete the file to start from the beginning"):
            sc.finetune(random_network(), image_loader(), recipe, directory=tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    big = lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 2_000), nn.Linear(2_000, 4))  # noqa: E731 (2 MB)
    torch.manual_seed(0)
    start = big()
    recipe, whole = sc.Recovery(epochs=3), copy.deepcopy(start)
    sc.finetune(whole, image_loader(), recipe)

    def filling(items, description):
        for item in items:
            if item == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, resource.RLIM_INFINITY))
            yield item

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(PersistError, match="The previous checkpoint, if any, is intact"):
            sc.finetune(copy.deepcopy(start), image_loader(), recipe, directory=tmp_path, progress=filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    resumed = copy.deepcopy(start)
    sc.finetune(resumed, image_loader(), recipe, directory=tmp_path)
    assert equal_states(copy_tensors(resumed), copy_tensors(whole))


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be written"):
        sc.finetune(random_network(), image_loader(), directory=tmp_path / "file" / "stage")


def test_an_optimiser_state_that_json_cannot_represent_is_an_error(tmp_path):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["things"] = [1]
            return super().step(closure)

    sc.finetune(random_network(), image_loader(), optimizer=Odd)
    with pytest.raises(PersistError, match="'things' of type list"):
        sc.finetune(random_network(), image_loader(), optimizer=Odd, directory=tmp_path)


def test_a_checkpoint_describes_itself(tmp_path):
    recipe = sc.Recovery(epochs=1, patience=1)
    history = sc.finetune(random_network(), image_loader(), recipe, validation=image_loader(8), directory=tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        header = json.loads(file.metadata()["secateurs"])
        assert {"model/0.weight", "best/0.weight", "model/3.calls", "optimizer/0/momentum_buffer"} <= {*file.keys()}
    assert header["history"] == asdict(history)
    assert header["recipe"] == json.loads(json.dumps(asdict(recipe)))
