"""Several processes come to what one comes to with all data, and none waits for another for ever."""

import multiprocessing
import time
import warnings
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import secateurs as sc
from secateurs.criteria.registry import CRITERIA
from secateurs.data.batch import first_batch
from secateurs.data.collectives import check_ranks_agree
from secateurs.errors import UsageError
from secateurs.observe.feature_maps import MapRanks, NuclearDrops
from secateurs.observe.gradients import curvature
from secateurs.observe.samples import Pooled, Sampled

pytestmark = pytest.mark.slow  # starts processes

SIZES = (5, 3, 8, 2, 4, 3, 2, 2, 1)
"""Samples per batch: some ranks have more batches, and more samples, than others."""
HYBRID = "auto*l1+auto*nexp"


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 4),
    ).eval()  # fmt: skip


def samples():
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(30, 3, 6, 6, generator=generator), torch.randint(4, (30,), generator=generator))


def labelled():
    return list(zip(*(tensor.split(SIZES) for tensor in samples().tensors), strict=True))


def measured(data):
    """All that is made of data, by name: tensors, numbers and texts."""
    model, found = network(), {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # groups that a criterion cannot score
        patch.setattr(curvature, "PROBES", 3)
        for kind, largest in ((MapRanks, 12), (NuclearDrops, 12), (Sampled, 12), (Pooled, 20)):  # one rank has more
            patch.setattr(kind, "LARGEST", largest)
        for criterion, groups in sc.score_many(model, data, [*CRITERIA, HYBRID]).items():
            found |= {f"{criterion} of {group}": its for group, its in groups.items()}
        pruned = sc.prune(model, data, criterion="taylor", budget="keep:0.5", seed=3)
        ranking = sc.rank_features(model, data)
        masked = sc.mask(model, data, "wanda")
        change = sc.ndi_report(model, pruned.plan, data).change
        recalibrated = network()
        sc.recalibrate(recalibrated, data)
        with torch.no_grad():
            model[1].running_mean += 1
        sc.recalibrate(pruned.model, data, model, pruned.plan)
        tracked = sc.track(model, data, "fisher").history[0].scores["fisher"]
    found |= {f"pruned {name}": its for name, its in pruned.model.state_dict().items()}
    found |= {f"masked {name}": its for name, its in masked.masks.items()}
    found |= {f"recalibrated {name}": its.double() for name, its in recalibrated[1].named_buffers()}
    found |= {f"tracked {name}": its for name, its in tracked.items()}
    found |= {
        "change": change,
        "plan": pruned.plan.model_dump_json(),
        "features": ranking.scores,
        "loss after": ranking.loss_after,
    }
    return found | {"loss": sc.mean_loss(model, data), "accuracy": sc.accuracy(model, data)}


def loader(**options):
    return DataLoader(samples(), 4, **options)


def seeded(seed=5):
    return {"shuffle": True, "generator": torch.Generator().manual_seed(seed)}


def forms():
    """What this rank reads of data of other forms than a list, and the scores that come of it."""
    data = {
        "loader": sc.shard(loader()),
        "workers": sc.shard(loader(num_workers=1, multiprocessing_context="fork")),
        "shuffled": sc.shard(loader(**seeded())),
        "split": sc.shard(loader(sampler=DistributedSampler(samples(), shuffle=False)), split=True),
        "random inputs": sc.shard(sc.random_inputs((3, 6, 6), 30, 4)),
    }
    scores = {name: sc.score(network(), its, "nexp") for name, its in data.items()}
    again = {name: data[name] for name in ("loader", "workers")} | {"shuffled": sc.shard(loader(**seeded()))}
    return {
        "forms": {f"{name}: {group}": its for name, groups in scores.items() for group, its in groups.items()},
        "read": {name: torch.cat([x for x, _ in its]) for name, its in again.items()},
        "lengths": {name: len(its) for name, its in again.items()},
        "leading": first_batch(data["split"]).call.args[0],
    }


SAID = {
    "plan": "UsageError: rank {last} has another plan than rank 0",
    "model": "UsageError: rank {last} has another model than rank 0",
    "length": "UsageError: rank {last} has another length or order of the data",
    "order": "has another length or order of the data than rank 0",
    "shuffled": "DataError: rank 0 failed",
    "dealt": "give split=True",
    "few": "batches cannot be distributed over {ranks} processes",
    "few on one": "DataError: rank {last} failed",
    "no length": "has no length and cannot be distributed over processes",
    "twice": "UsageError: the data is a shard already",
    "nexp of bad": "DataError: rank {last} failed: the model failed on batch",
    "taylor of bad": "DataError: rank {last} failed: batch",
    "features of bad": "DataError: rank {last} failed: batch",
    "accuracy of bad": "DataError: rank {last} failed: batch",
    "loss of bad": "DataError: rank {last} failed: the model failed on batch",
    "not finite": "DataError: rank {last} failed: group",
    "no batch": "DataError: rank {last} failed: the data set is empty",
}
"""What is said on every rank, `last` being the one where something is wrong."""


def failures(rank, ranks):
    """What is said on this rank where one, or each, has something wrong."""
    model, data, last = network(), labelled(), rank == ranks - 1

    def broken():
        with torch.no_grad():
            model[0].weight[0] += last
        return sc.score(model, sc.shard(data), "nexp")

    def spoilt(batch):
        bad = [batch if n == len(data) - 1 else its for n, its in enumerate(data)]
        return sc.shard(bad)

    infinite = spoilt((torch.full((2, 3, 6, 6), torch.inf), torch.zeros(2, dtype=torch.long)))
    tries = {
        "plan": lambda: check_ranks_agree(sc.shard(data), "other" if last else "same", "plan"),
        "model": broken,
        "length": lambda: sc.shard(data[: 6 + last]),
        "order": lambda: sc.shard(loader(**seeded(rank))),
        "shuffled": lambda: sc.shard(loader(shuffle=True)),
        "dealt": lambda: sc.shard(loader(sampler=DistributedSampler(samples()))),
        "few": lambda: sc.shard(data[: ranks - 1]),
        "few on one": lambda: sc.shard(data[: ranks - last]),
        "no length": lambda: sc.shard(iter(data)),
        "twice": lambda: sc.shard(sc.shard(data)),
        "nexp of bad": lambda: sc.score(network(), spoilt(torch.randn(2, 5, 6, 6)), "nexp"),
        "taylor of bad": lambda: sc.score(network(), spoilt(torch.randn(2, 3, 6, 6)), "taylor"),
        "features of bad": lambda: sc.rank_features(network(), spoilt(torch.randn(2, 3, 6, 5)), "variance"),
        "accuracy of bad": lambda: sc.accuracy(network(), spoilt((torch.randn(2, 3, 6, 6), None))),
        "loss of bad": lambda: sc.mean_loss(network(), spoilt(torch.zeros(2, dtype=torch.long))),
        "not finite": lambda: sc.score(network(), infinite, "nexp"),
        "no batch": lambda: sc.score(network(), sc.shard(data * (not last), split=True), "nexp"),
    }
    said = {}
    for name, attempt in tries.items():
        with pytest.raises(sc.SecateursError) as caught:
            attempt()
        said[name] = f"{type(caught.value).__name__}: {caught.value}"
    return said


def work(rank, ranks, directory):
    torch.set_num_threads(1)
    where = f"file://{directory}/meeting"
    distributed.init_process_group(
        "gloo", init_method=where, rank=rank, world_size=ranks, timeout=timedelta(seconds=60)
    )
    found = {"measured": measured(sc.shard(labelled())), "failures": failures(rank, ranks), **forms()}
    torch.save(found, f"{directory}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def found(request, tmp_path_factory):
    """What each rank found."""
    directory = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["secateurs", "torch._dynamo", "sklearn.neighbors"])  # slow to import
    started = start_processes(
        work, (request.param, str(directory)), nprocs=request.param, join=False, start_method="forkserver"
    )
    deadline = time.monotonic() + 180
    while not started.join(1):
        if time.monotonic() > deadline:
            for process in started.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    return [torch.load(directory / f"{rank}.pt") for rank in range(request.param)]


@pytest.fixture(scope="module")
def alone():
    return measured(labelled())


def test_ranks_find_what_one_process_finds(found, alone):
    for name, its in found[0]["measured"].items():
        if name == "plan" or name.startswith(("nexp", "random", "masked")):
            assert torch.equal(its, alone[name]) if isinstance(its, torch.Tensor) else its == alone[name], name
        else:
            expected = torch.as_tensor(alone[name])
            scale = float(expected.abs().max())
            torch.testing.assert_close(
                torch.as_tensor(its), expected, rtol=0, atol=1e-6 * scale, msg=lambda text, name=name: f"{name}: {text}"
            )
    assert found[0]["measured"].keys() == alone.keys()


def test_all_ranks_find_the_same_bits(found):
    for other in found[1:]:
        assert digests(other) == digests(found[0])


def digests(its):
    found = its["measured"] | its["forms"] | {"leading": its["leading"]}
    return {name: v.tolist() if isinstance(v, torch.Tensor) else v for name, v in found.items()}


def test_loaders_are_read_in_parts_that_are_the_whole_in_its_order(found):
    whole = {"loader": loader(), "workers": loader(), "shuffled": loader(**seeded())}
    for name, its in whole.items():
        parts = [part["read"][name] for part in found]
        assert torch.equal(torch.cat(parts), torch.cat([x for x, _ in its])), name
        assert all(part["lengths"][name] == -(-len(x) // 4) for part, x in zip(found, parts, strict=True)), name


@pytest.mark.parametrize("form", ["loader", "workers", "shuffled", "split", "random inputs"])
def test_data_of_any_form_gives_the_scores_of_one_process(found, form):
    data = sc.random_inputs((3, 6, 6), 30, 4) if form == "random inputs" else loader()
    if form == "split":  # the sampler deals samples out, and the first ones twice if they do not come out even
        ranks = len(found)
        dealt = [n % 30 for n in range(-(-30 // ranks) * ranks)]
        data = [samples()[n] for n in dealt]
        data = [(torch.stack([x for x, _ in data]), torch.stack([y for _, y in data]))]
    for group, its in sc.score(network(), data, "nexp").items():
        assert torch.equal(its, found[0]["forms"][f"{form}: {group}"])


def test_the_first_batch_is_that_of_rank_0_on_every_rank(found):
    ranks = len(found)
    assert torch.equal(found[-1]["leading"], samples().tensors[0][: 4 * ranks : ranks])


def test_what_is_wrong_on_one_rank_is_told_on_all(found):
    last = len(found) - 1
    for name, expected in SAID.items():
        for its in found:
            assert expected.format(last=last, ranks=last + 1) in its["failures"][name], name
    assert found[0]["failures"].keys() == SAID.keys()


def test_data_is_not_spread_over_processes_that_were_not_started(batches):
    with pytest.raises(UsageError, match="start the script with torchrun"):
        sc.shard(batches)
