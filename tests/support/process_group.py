"""Work of each process of a group, and the data that it is given, for test_processes.py."""

import warnings
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import secateurs as sc
from secateurs.criteria.registry import CRITERIA
from secateurs.data.batch import first_batch
from secateurs.data.collectives import check_ranks_agree
from secateurs.observe.feature_maps import MapRanks, NuclearDrops
from secateurs.observe.gradients import curvature
from secateurs.observe.samples import Pooled, Sampled

SIZES = (5, 3, 8, 2, 4, 3, 2, 2, 1)
"""Samples per batch: some ranks have more batches, and more samples, than others."""


HYBRID = "auto*l1+auto*nexp"


def classifier():
    """A classifier of images [3, 6, 6], with the same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 4),
    ).eval()  # fmt: skip


def dataset():
    """30 labelled images."""
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(30, 3, 6, 6, generator=generator), torch.randint(4, (30,), generator=generator))


def labelled_batches():
    """The images in batches of `SIZES`."""
    return list(zip(*(tensor.split(SIZES) for tensor in dataset().tensors), strict=True))


def measure_everything(data):
    """Every result that depends on data, by name: tensors, numbers and texts."""
    model, results = classifier(), {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # groups that a criterion cannot score
        patch.setattr(curvature, "PROBES", 3)
        for kind, largest in ((MapRanks, 12), (NuclearDrops, 12), (Sampled, 12), (Pooled, 20)):  # one rank has more
            patch.setattr(kind, "LARGEST", largest)
        for criterion, groups in sc.score_many(model, data, [*CRITERIA, HYBRID]).items():
            results |= {f"{criterion} of {group}": scores for group, scores in groups.items()}
        pruned = sc.prune(model, data, criterion="taylor", budget="keep:0.5", seed=3)
        ranking = sc.rank_features(model, data)
        masked = sc.mask(model, data, "wanda")
        change = sc.ndi_report(model, pruned.plan, data).change
        recalibrated = classifier()
        sc.recalibrate(recalibrated, data)
        with torch.no_grad():
            model[1].running_mean += 1
        sc.recalibrate(pruned.model, data, model, pruned.plan)
        tracked = sc.track(model, data, "fisher").history[0].scores["fisher"]
    results |= {f"pruned {name}": tensor for name, tensor in pruned.model.state_dict().items()}
    results |= {f"masked {name}": mask for name, mask in masked.masks.items()}
    results |= {f"recalibrated {name}": tensor.double() for name, tensor in recalibrated[1].named_buffers()}
    results |= {f"tracked {name}": scores for name, scores in tracked.items()}
    results |= {
        "change": change,
        "plan": pruned.plan.model_dump_json(),
        "features": ranking.scores,
        "loss after": ranking.loss_after,
    }
    return results | {"loss": sc.mean_loss(model, data), "accuracy": sc.accuracy(model, data)}


def make_loader(**options):
    """The images in batches of four."""
    return DataLoader(dataset(), 4, **options)


def shuffled(seed=5):
    """Options of a loader that shuffles with a generator of its own."""
    return {"shuffle": True, "generator": torch.Generator().manual_seed(seed)}


def results_by_form():
    """Inputs, lengths and scores of the shards of loaders and random inputs."""
    data = {
        "loader": sc.shard(make_loader()),
        "workers": sc.shard(make_loader(num_workers=1, multiprocessing_context="fork")),
        "shuffled": sc.shard(make_loader(**shuffled())),
        "split": sc.shard(make_loader(sampler=DistributedSampler(dataset(), shuffle=False)), split=True),
        "random inputs": sc.shard(sc.random_inputs((3, 6, 6), 30, 4)),
    }
    scores = {name: sc.score(classifier(), shard, "nexp") for name, shard in data.items()}
    again = {name: data[name] for name in ("loader", "workers")} | {"shuffled": sc.shard(make_loader(**shuffled()))}
    return {
        "forms": {f"{name}: {group}": values for name, groups in scores.items() for group, values in groups.items()},
        "inputs": {name: torch.cat([x for x, _ in shard]) for name, shard in again.items()},
        "lengths": {name: len(shard) for name, shard in again.items()},
        "first batch": first_batch(data["split"]).call.args[0],
    }


def errors_by_case(rank, ranks):
    """The error on this rank of calls that fail on the last rank or on all ranks."""
    model, data, last = classifier(), labelled_batches(), rank == ranks - 1

    def score_changed_model():
        with torch.no_grad():
            model[0].weight[0] += last
        return sc.score(model, sc.shard(data), "nexp")

    def with_last(batch):
        return sc.shard([*data[:-1], batch])

    infinite = with_last((torch.full((2, 3, 6, 6), torch.inf), torch.zeros(2, dtype=torch.long)))
    calls = {
        "plan": lambda: check_ranks_agree(sc.shard(data), "other" if last else "same", "plan"),
        "model": score_changed_model,
        "length": lambda: sc.shard(data[: 6 + last]),
        "order": lambda: sc.shard(make_loader(**shuffled(rank))),
        "shuffled": lambda: sc.shard(make_loader(shuffle=True)),
        "dealt": lambda: sc.shard(make_loader(sampler=DistributedSampler(dataset()))),
        "few": lambda: sc.shard(data[: ranks - 1]),
        "few on one": lambda: sc.shard(data[: ranks - last]),
        "no length": lambda: sc.shard(iter(data)),
        "twice": lambda: sc.shard(sc.shard(data)),
        "nexp of bad": lambda: sc.score(classifier(), with_last(torch.randn(2, 5, 6, 6)), "nexp"),
        "taylor of bad": lambda: sc.score(classifier(), with_last(torch.randn(2, 3, 6, 6)), "taylor"),
        "features of bad": lambda: sc.rank_features(classifier(), with_last(torch.randn(2, 3, 6, 5)), "variance"),
        "accuracy of bad": lambda: sc.accuracy(classifier(), with_last((torch.randn(2, 3, 6, 6), None))),
        "loss of bad": lambda: sc.mean_loss(classifier(), with_last(torch.zeros(2, dtype=torch.long))),
        "not finite": lambda: sc.score(classifier(), infinite, "nexp"),
        "no batch": lambda: sc.score(classifier(), sc.shard(data * (not last), split=True), "nexp"),
    }
    errors = {}
    for name, call in calls.items():
        with pytest.raises(sc.SecateursError) as caught:
            call()
        errors[name] = f"{type(caught.value).__name__}: {caught.value}"
    return errors


def work(rank, ranks, directory):
    """Compute everything on this rank, and save it as `RANK.pt`."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{directory}/meeting", rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    measured, errors = measure_everything(sc.shard(labelled_batches())), errors_by_case(rank, ranks)
    torch.save({"measured": measured, "errors": errors, **results_by_form()}, f"{directory}/{rank}.pt")
    distributed.destroy_process_group()
