"""A resumed training gives the same result as an uninterrupted one."""

import copy
import json
import random
import resource
import signal
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc
from secateurs.errors import PersistError

EPOCHS = 5
LARGE = 1_000_000


class CutOffError(Exception):
    """Raised by the progress of a test to interrupt training."""


class Noisy(nn.Module):
    """Uses the random generators of Python and NumPy, and has a buffer that is not persistent."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        self.calls += 1
        noise = random.gauss(0, 0.01) + np.random.normal(0, 0.01) if self.training else 0.0
        return x * (1 + noise) + self.calls * 1e-4


def network():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), Noisy(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 4)
    )


def loader(count=40, shuffle=True):
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(count, 3, 6, 6, generator=generator), torch.randint(4, (count,), generator=generator)
    return DataLoader(TensorDataset(x, y), 8, shuffle=shuffle, generator=torch.Generator().manual_seed(9))


def until(epoch):
    """A progress function that raises CutOffError after `epoch` epochs."""

    def wrap(items, description):
        for item in items:
            if item == epoch:
                raise CutOffError
            yield item

    return wrap


def bits(model):
    return {name: tensor.clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def momentum_of_sgd(parameters):
    return torch.optim.SGD(parameters, momentum=0.5)


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ({}, {}),
        (
            {
                "optimizer": "adamw",
                "lr": 1e-3,
                "lr_schedule": "step",
                "warmup": 0.3,
                "grad_accumulation": 2,
                "clip": 1.0,
            },
            {},
        ),
        ({"patience": 2, "lr": 0.2}, {"validation": True}),
        ({"lr_schedule": "constant", "mixed_precision": "bf16"}, {"optimizer": momentum_of_sgd}),
        ({"lora": 2}, {}),
    ],
)
@pytest.mark.parametrize("done", [1, 3])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path, recipe, options, done):
    if "lora" in recipe:
        pytest.importorskip("peft")
    recipe = sc.Recovery(epochs=EPOCHS, **recipe)
    options = {**options, **({"validation": loader(16)} if options.get("validation") else {})}
    whole = network()
    expected = sc.finetune(whole, loader(), recipe, **options)
    directory = tmp_path / "stage"
    with pytest.raises(CutOffError):
        sc.finetune(network(), loader(), recipe, directory=directory, progress=until(done), **options)
    assert [path.name for path in directory.iterdir()] == ["checkpoint.safetensors"]
    random.seed(), np.random.seed(None), torch.seed()  # the states of another process
    resumed = network()
    assert sc.finetune(resumed, loader(), recipe, directory=directory, **options) == expected
    assert same(bits(resumed), bits(whole))
    again = network()
    assert sc.finetune(again, [], recipe, directory=directory, **options) == expected  # all epochs were done
    assert same(bits(again), bits(whole))


def test_a_failure_within_an_epoch_repeats_only_that_epoch(tmp_path):
    class Failing(list):
        left = 12

        def __iter__(self):
            for item in super().__iter__():
                Failing.left -= 1
                if not Failing.left:
                    raise CutOffError
                yield item

    data = list(loader())
    whole, recipe = network(), sc.Recovery(epochs=EPOCHS)
    expected = sc.finetune(whole, data, recipe)
    with pytest.raises(sc.SecateursError, match="CutOffError"):
        sc.finetune(network(), Failing(data), recipe, directory=tmp_path)
    resumed, epochs = network(), []
    watch = lambda items, _: (epochs.append(item) or item for item in items)  # noqa: E731
    assert sc.finetune(resumed, data, recipe, directory=tmp_path, progress=watch) == expected
    assert epochs == [2, 3, 4]
    assert same(bits(resumed), bits(whole))


def test_generators_and_random_states_are_restored():
    data, model = loader(), network()
    states = data.generator.get_state(), torch.get_rng_state(), random.getstate()
    sc.finetune(model, data, sc.Recovery(epochs=2))
    assert torch.equal(data.generator.get_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert random.getstate() == states[2]


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_epochs_differ_and_set_epoch_is_called(generator):
    seen, epochs = [], []

    class Told(TensorDataset):
        def set_epoch(self, epoch):
            epochs.append(epoch)

        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    x = torch.randn(16, 3, 6, 6)
    data = DataLoader(Told(x, torch.zeros(16).long()), 8, shuffle=True, generator=generator)
    sc.finetune(network(), data, sc.Recovery(epochs=2))
    assert sorted(seen[:16]) == list(range(16))
    assert seen[:16] != seen[16:]
    assert sorted(set(epochs)) == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": sc.Recovery(epochs=2, lr=0.5)}, "lr was 0.01, not 0.5"),
        ({"seed": 3}, "seed was 0, not 3"),
        (
            {"model": nn.Sequential(nn.Conv2d(3, 7, 3), nn.Flatten(), nn.Linear(112, 4))},
            "another model: '0.bias'",
        ),
        ({"model": network().double()}, "float32"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, message):
    with pytest.raises(CutOffError):
        sc.finetune(network(), loader(), sc.Recovery(epochs=2), directory=tmp_path, progress=until(1))
    call = {"model": network(), "recipe": sc.Recovery(epochs=2), **change}
    before = bits(call["model"])
    with pytest.raises(PersistError, match=message):
        sc.finetune(data=loader(), directory=tmp_path, **call)
    assert same(bits(call["model"]), before)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    recipe = sc.Recovery(epochs=2)
    with pytest.raises(CutOffError):
        sc.finetune(network(), loader(), recipe, directory=tmp_path, progress=until(1))
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:50], b"", content.replace(b'\\"seed\\"', b'\\"sead\\"')):
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises(PersistError, match="Delete the file to start from the beginning"):
            sc.finetune(network(), loader(), recipe, directory=tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    big = lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 2_000), nn.Linear(2_000, 4))  # noqa: E731 (2 MB)
    torch.manual_seed(0)
    start = big()
    recipe, whole = sc.Recovery(epochs=3), copy.deepcopy(start)
    sc.finetune(whole, loader(), recipe)

    def filling(items, description):
        for item in items:
            if item == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, resource.RLIM_INFINITY))
            yield item

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(PersistError, match="The previous checkpoint, if any, is intact"):
            sc.finetune(copy.deepcopy(start), loader(), recipe, directory=tmp_path, progress=filling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    resumed = copy.deepcopy(start)
    sc.finetune(resumed, loader(), recipe, directory=tmp_path)
    assert same(bits(resumed), bits(whole))


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be written"):
        sc.finetune(network(), loader(), directory=tmp_path / "file" / "stage")


def test_an_optimiser_state_that_json_cannot_represent_is_an_error(tmp_path):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            self.state[self.param_groups[0]["params"][0]]["things"] = [1]
            return super().step(closure)

    sc.finetune(network(), loader(), optimizer=Odd)
    with pytest.raises(PersistError, match="'things' of type list"):
        sc.finetune(network(), loader(), optimizer=Odd, directory=tmp_path)


def test_a_checkpoint_describes_itself(tmp_path):
    recipe = sc.Recovery(epochs=1, patience=1)
    history = sc.finetune(network(), loader(), recipe, validation=loader(8), directory=tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        header = json.loads(file.metadata()["secateurs"])
        assert {"model/0.weight", "best/0.weight", "model/3.calls", "optimizer/0/momentum_buffer"} <= {*file.keys()}
    assert header["history"] == asdict(history)
    assert header["recipe"] == json.loads(json.dumps(asdict(recipe)))
