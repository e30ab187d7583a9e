"""Several processes give the results of one process with all data, and no process waits for another without end."""

import multiprocessing
import time

import pytest
import torch
from support.process_group import (
    classifier,
    dataset,
    labelled_batches,
    make_loader,
    measure_everything,
    shuffled,
    work,
)
from torch.multiprocessing.spawn import start_processes

import secateurs as sc
from secateurs.errors import UsageError

pytestmark = pytest.mark.slow  # starts processes

EXPECTED_ERRORS = {
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
"""The error of each case on every rank; `last` is the rank that causes it."""


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory):
    """The results of each rank."""
    directory = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["secateurs", "torch._dynamo", "sklearn.neighbors"])  # slow to import
    processes = start_processes(
        work, (request.param, str(directory)), nprocs=request.param, join=False, start_method="forkserver"
    )
    deadline = time.monotonic() + 180
    while not processes.join(1):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    return [torch.load(directory / f"{rank}.pt") for rank in range(request.param)]


@pytest.fixture(scope="module")
def single():
    """The results of one process with all data."""
    return measure_everything(labelled_batches())


def test_ranks_give_the_results_of_one_process(ranks, single):
    for name, value in ranks[0]["measured"].items():
        if name == "plan" or name.startswith(("nexp", "random", "masked")):
            equal = torch.equal(value, single[name]) if isinstance(value, torch.Tensor) else value == single[name]
            assert equal, name
        else:
            expected = torch.as_tensor(single[name])
            atol = 1e-6 * float(expected.abs().max())
            message = lambda text, name=name: f"{name}: {text}"  # noqa: E731
            torch.testing.assert_close(torch.as_tensor(value), expected, rtol=0, atol=atol, msg=message)
    assert ranks[0]["measured"].keys() == single.keys()


def test_all_ranks_give_the_same_bits(ranks):
    for other in ranks[1:]:
        assert as_plain_values(other) == as_plain_values(ranks[0])


def as_plain_values(results):
    """Scores, models and the first batch as lists and numbers."""
    values = results["measured"] | results["forms"] | {"first batch": results["first batch"]}
    return {name: v.tolist() if isinstance(v, torch.Tensor) else v for name, v in values.items()}


def test_the_shards_of_a_loader_are_the_whole_data_in_order(ranks):
    loaders = {"loader": make_loader(), "workers": make_loader(), "shuffled": make_loader(**shuffled())}
    for name, loader in loaders.items():
        parts = [rank["inputs"][name] for rank in ranks]
        assert torch.equal(torch.cat(parts), torch.cat([x for x, _ in loader])), name
        assert all(rank["lengths"][name] == -(-len(x) // 4) for rank, x in zip(ranks, parts, strict=True)), name


@pytest.mark.parametrize("form", ["loader", "workers", "shuffled", "split", "random inputs"])
def test_data_of_any_form_gives_the_scores_of_one_process(ranks, form):
    data = sc.random_inputs((3, 6, 6), 30, 4) if form == "random inputs" else make_loader()
    if form == "split":  # the sampler repeats the first samples until all ranks have the same number
        count = len(ranks)
        samples = [dataset()[n % 30] for n in range(-(-30 // count) * count)]
        data = [(torch.stack([x for x, _ in samples]), torch.stack([y for _, y in samples]))]
    for group, scores in sc.score(classifier(), data, "nexp").items():
        assert torch.equal(scores, ranks[0]["forms"][f"{form}: {group}"])


def test_the_first_batch_of_every_rank_is_the_first_batch_of_rank_0(ranks):
    count = len(ranks)
    assert torch.equal(ranks[-1]["first batch"], dataset().tensors[0][: 4 * count : count])


def test_an_error_of_one_rank_is_raised_on_all_ranks(ranks):
    last = len(ranks) - 1
    for name, expected in EXPECTED_ERRORS.items():
        for rank in ranks:
            assert expected.format(last=last, ranks=last + 1) in rank["errors"][name], name
    assert ranks[0]["errors"].keys() == EXPECTED_ERRORS.keys()


def test_sharding_outside_a_process_group_is_refused(batches):
    with pytest.raises(UsageError, match="start the script with torchrun"):
        sc.shard(batches)
