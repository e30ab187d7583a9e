"""Pruning in rounds: budgets of the rounds, training between and after them, and refused options."""

import benchmarks.torchvision_ops  # noqa: F401, I001  (first: peft imports torchvision)
import pytest
import torch
from support.runs import DURING_TRAINING, build_network, calibration_batches, labelled_images, prune_in_stages
from support.states import copy_state, equal_states

import secateurs as sc
from secateurs.errors import UsageError


@pytest.fixture(scope="module")
def data():
    return labelled_images()


def test_rounds_meet_their_budgets_and_keep_the_dense_weights(data):
    dense = build_network()
    states = []

    def watch(model):
        states.append(copy_state(model))
        return {}

    batches = calibration_batches(data)
    result = sc.prune(
        dense, batches, criterion="l1", budget="macs:0.4", schedule=sc.Schedule(3), compensate=False, measure=watch
    )
    macs = [each.cost.macs / result.dense_cost.macs for each in result.rounds]
    assert [share <= target for share, target in zip(macs, (0.8, 0.6, 0.4), strict=True)] == [True] * 3
    assert macs[0] > 0.6
    for state in states:
        weights = {float(w) for w in state["3.weight"].flatten()}
        assert weights <= {float(w) for w in dense.state_dict()["3.weight"].flatten()}
    at_once = sc.apply(dense, result.plan, batches[0][0][:1])
    assert equal_states(at_once, result.model)


def test_compensation_after_several_rounds_uses_the_dense_model(data):
    dense, batches = build_network(), [data[:]]
    result = sc.prune(dense, batches, criterion="l1", budget="macs:0.5", schedule=sc.Schedule(3))
    small = sc.apply(dense, result.plan, batches[0][0][:2])
    sc.compensate(small, dense, result.plan, batches)
    assert all(torch.allclose(a, b) for a, b in zip(small.parameters(), result.model.parameters(), strict=True))


def test_recovery_by_a_function_trains_the_pruned_model(data):
    def fit(model):
        with torch.no_grad():
            model[8].bias.fill_(7)

    result = prune_in_stages(data, None, between=None, schedule=None, recovery=fit, measure=None)
    assert result.model[8].bias.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": 3}, "Schedule"),
        ({"recovery": 3}, "Recovery"),
        ({"schedule": None}, "there is one round"),
        ({"measure": lambda model: 0.5}, "figures by name"),
    ],
)
def test_invalid_arguments_are_refused(data, options, message):
    with pytest.raises(UsageError, match=message):
        prune_in_stages(data, None, **options)


class EndlessData:
    def __iter__(self):
        while True:
            yield torch.zeros(4, 3, 8, 8), torch.zeros(4).long()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recovery": None}, r"give recovery=Recovery"),
        ({"recovery": lambda model: None}, r"give recovery=Recovery"),
        ({"recovery": sc.Recovery(epochs=1, lora=2)}, "adapters"),
        ({"schedule": sc.Schedule(100, during_training=True)}, "100 rounds do not fit into 18 steps"),
        ({"training": EndlessData()}, "length"),
    ],
)
def test_unsupported_pruning_during_training_is_refused(data, options, message):
    with pytest.raises(UsageError, match=message):
        prune_in_stages(data, None, **{**DURING_TRAINING, **options})


def test_missing_validation_data_is_refused_before_the_run_starts(data, tmp_path):
    with pytest.raises(UsageError, match="patience=2 needs validation data"):
        prune_in_stages(data, tmp_path / "run", recovery=sc.Recovery(epochs=3, patience=2))
    assert not (tmp_path / "run").exists()
