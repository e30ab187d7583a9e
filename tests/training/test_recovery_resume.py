"""Resumed training ends with the same bits as training without interruption."""

import random

import numpy as np
import pytest
import torch
from support.interruptions import StoppedError, stop_after
from support.resumable import copy_tensors, image_loader, random_network
from support.states import equal_states
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc

EPOCHS = 5


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
def test_a_resumed_training_ends_with_the_same_copy_tensors(tmp_path, recipe, options, done):
    if "lora" in recipe:
        pytest.importorskip("peft")
    recipe = sc.Recovery(epochs=EPOCHS, **recipe)
    options = {**options, **({"validation": image_loader(16)} if options.get("validation") else {})}
    whole = random_network()
    expected = sc.finetune(whole, image_loader(), recipe, **options)
    directory = tmp_path / "stage"
    with pytest.raises(StoppedError):
        sc.finetune(random_network(), image_loader(), recipe, directory=directory, progress=stop_after(done), **options)
    assert [path.name for path in directory.iterdir()] == ["checkpoint.safetensors"]
    random.seed(), np.random.seed(None), torch.seed()  # the states of another process
    resumed = random_network()
    assert sc.finetune(resumed, image_loader(), recipe, directory=directory, **options) == expected
    assert equal_states(copy_tensors(resumed), copy_tensors(whole))
    again = random_network()
    assert sc.finetune(again, [], recipe, directory=directory, **options) == expected  # all epochs were done
    assert equal_states(copy_tensors(again), copy_tensors(whole))


def test_a_failure_within_an_epoch_repeats_only_that_epoch(tmp_path):
    class Failing(list):
        left = 12

        def __iter__(self):
            for item in super().__iter__():
                Failing.left -= 1
                if not Failing.left:
                    raise StoppedError("within an epoch")
                yield item

    data = list(image_loader())
    whole, recipe = random_network(), sc.Recovery(epochs=EPOCHS)
    expected = sc.finetune(whole, data, recipe)
    with pytest.raises(sc.SecateursError, match="StoppedError"):
        sc.finetune(random_network(), Failing(data), recipe, directory=tmp_path)
    resumed, epochs = random_network(), []
    watch = lambda items, _: (epochs.append(item) or item for item in items)  # noqa: E731
    assert sc.finetune(resumed, data, recipe, directory=tmp_path, progress=watch) == expected
    assert epochs == [2, 3, 4]
    assert equal_states(copy_tensors(resumed), copy_tensors(whole))


def test_generators_and_random_states_are_restored():
    data, model = image_loader(), random_network()
    states = data.generator.get_state(), torch.get_rng_state(), random.getstate()
    sc.finetune(model, data, sc.Recovery(epochs=2))
    assert torch.equal(data.generator.get_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert random.getstate() == states[2]


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_epochs_differ_and_set_epoch_is_called(generator):
    indices, epochs = [], []

    class EpochDataset(TensorDataset):
        def set_epoch(self, epoch):
            epochs.append(epoch)

        def __getitem__(self, index):
            indices.append(index)
            return super().__getitem__(index)

    x = torch.randn(16, 3, 6, 6)
    data = DataLoader(EpochDataset(x, torch.zeros(16).long()), 8, shuffle=True, generator=generator)
    sc.finetune(random_network(), data, sc.Recovery(epochs=2))
    assert sorted(indices[:16]) == list(range(16))
    assert indices[:16] != indices[16:]
    assert sorted(set(epochs)) == [0, 1]
