"""One process of a distributed training, started by test_recovery_processes.py with the environment of torchrun."""

import contextlib
import os
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset

import secateurs as sc
from secateurs.data.shard import shard
from secateurs.errors import SecateursError

GLOBAL, OWN = 8, 4
"""Samples per batch in a single process, and in each of two processes."""


def network(norm=False):
    torch.manual_seed(3)
    norms = [nn.BatchNorm1d(12)] if norm else []
    return nn.Sequential(nn.Linear(6, 12), *norms, nn.Tanh(), nn.Linear(12, 3))


def samples():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 6, generator=generator), torch.randint(3, (40,), generator=generator)


def batches(size, count=40):
    return list(zip(*(part[:count].split(size) for part in samples()), strict=True))


def loader(size, **options):
    return DataLoader(TensorDataset(*samples()), size, **options)


def interleaved():
    """Batches in an order in which the contiguous parts of two shards form the batches of a single process."""
    both = batches(OWN)
    return both[0::2] + both[1::2]


def cut_off(items, description):
    """A progress function that fails after two epochs."""
    for item in items:
        if item == 2:
            raise InterruptedError
        yield item


def resumed(model, directory):
    with contextlib.suppress(InterruptedError):
        sc.finetune(network(), batches(OWN), RECIPE, directory=directory / "kept", progress=cut_off)
    return sc.finetune(model, batches(OWN), RECIPE, directory=directory / "kept")


def patient(model, size):
    mislabelled = [(x, y.roll(1)) for x, y in batches(GLOBAL)]
    return sc.finetune(model, batches(size), PATIENT, validation=mislabelled)


RECIPE = sc.Recovery(epochs=3, lr=0.1)
GATHERED = sc.Recovery(epochs=3, lr=0.1, grad_accumulation=2, clip=0.5)
PATIENT = sc.Recovery(epochs=8, lr=0.3, lr_schedule="constant", patience=2)
CASES = {
    "list": lambda model, out: sc.finetune(model, batches(OWN), RECIPE),
    "loader": lambda model, out: sc.finetune(model, loader(OWN), RECIPE),
    "shard": lambda model, out: sc.finetune(model, shard(interleaved()), RECIPE),
    "accumulate": lambda model, out: sc.finetune(model, batches(OWN), GATHERED),
    "patience": lambda model, out: patient(model, OWN),
    "resumed": resumed,
    "uneven": lambda model, out: sc.finetune(model, batches(OWN, 36), RECIPE),
    "uneven shard": lambda model, out: sc.finetune(model, shard(batches(OWN, 36)), RECIPE),
    "shuffled": lambda model, out: sc.finetune(model, loader(OWN, shuffle=True), RECIPE),
    "norm": lambda model, out: sc.finetune(model, batches(OWN), RECIPE),
}


def without_launcher():
    hidden = {name: os.environ.pop(name) for name in ("LOCAL_RANK", "WORLD_SIZE")}
    try:
        sc.finetune(network(), batches(OWN), RECIPE)
    finally:
        os.environ.update(hidden)


def message(call):
    try:
        call()
    except SecateursError as error:
        return str(error)


def main(out):
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    for name, case in CASES.items():
        model = network(norm=name == "norm")
        history = case(model, out)
        torch.save((history.train, history.best, model.state_dict()), out / f"{name}-{rank}.pt")
    (out / "file").touch()
    errors = [
        message(lambda: sc.finetune(network(), batches(OWN), RECIPE, directory=out / "file" / "stage")),
        message(without_launcher),
    ]
    torch.save(errors, out / f"errors-{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
