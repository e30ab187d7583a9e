"""Planted redundancy: it exists, and the weights do not reveal it."""

import pytest
import torch
from support.states import copy_state, equal_states

from secateurs.errors import UsageError
from secateurs.experiments.studies.planting import REDUNDANCIES, SETS, plant

EXACT = [kind for kind in REDUNDANCIES if kind != "near-duplicates"]


@pytest.fixture(scope="module")
def garden(digits_net, digits):
    return plant(digits_net, digits.train.tensors[0][:300])


@pytest.fixture(scope="module")
def maps(garden, digits):
    """Activations on images that planting did not use, [units, samples × positions]."""
    model = garden.model
    with torch.no_grad():
        return model.bn2(model.conv2(model.inputs(digits.test.tensors[0].double()))).relu().movedim(1, 0).flatten(1)


@pytest.mark.parametrize("kinds", [*([kind] for kind in EXACT), EXACT], ids=", ".join)
def test_planting_does_not_change_the_function(digits_net, digits, kinds):
    images, unseen = digits.train.tensors[0][:300], digits.test.tensors[0]
    before = copy_state(digits_net)
    changed = plant(digits_net, images, kinds=kinds).model
    with torch.no_grad():
        torch.testing.assert_close(changed(unseen.double()), digits_net.double()(unseen.double()), rtol=0, atol=1e-9)
    digits_net.float()
    assert equal_states(digits_net, before)


def test_near_duplicates_have_a_correlation_of_nine_tenths(garden, maps):
    assert len(garden.correlations) == SETS["near-duplicates"]
    assert all(abs(r - 0.9) < 0.01 for r in garden.correlations)
    unseen = [float(torch.corrcoef(maps[units])[0, 1]) for units in garden.sets["near-duplicates"]]
    assert all(abs(r - 0.9) < 0.05 for r in unseen)


def test_duplicates_have_equal_activations(garden, maps):
    for one, other in garden.sets["duplicates"]:
        torch.testing.assert_close(maps[one], maps[other])


def test_combinations_are_linearly_dependent_and_no_subset_is(garden, maps):
    for units in garden.sets["combinations"]:
        positive, negative = maps[units[:3]], maps[units[3:]]
        torch.testing.assert_close(positive.sum(0), negative.sum(0))
        assert torch.linalg.matrix_rank(maps[units]) == 5


def test_dead_units_never_fire_and_constant_units_always_give_one(garden, maps):
    assert not maps[[unit for (unit,) in garden.sets["dead"]]].any()
    constant = maps[[unit for (unit,) in garden.sets["constant"]]]
    torch.testing.assert_close(constant, torch.ones_like(constant))


def test_planted_sets_and_untouched_units_are_all_units(garden):
    planted_units = [unit for sets in garden.sets.values() for units in sets for unit in units]
    assert {kind: len(sets) for kind, sets in garden.sets.items()} == SETS
    assert sorted([*planted_units, *garden.untouched]) == list(range(garden.model.conv2.out_channels))


@pytest.mark.parametrize("kind", REDUNDANCIES)
@pytest.mark.parametrize("power", [1, 2])
def test_norms_of_weights_do_not_reveal_planted_units(garden, kind, power):
    units = [unit for units in garden.sets[kind] for unit in units]
    for weights in (garden.model.conv2.weight, garden.model.conv3.weight.movedim(1, 0), garden.model.bn2.weight):
        norms = weights.detach().reshape(len(weights), -1).norm(power, dim=1)
        live = norms[garden.untouched]
        assert abs(norms[units].mean() / live.mean() - 1) < 0.12
        assert norms[units].min() > 0.8 * live.min()


def test_planting_is_determined_by_the_seed(digits_net, digits, garden):
    images = digits.train.tensors[0][:300]
    again, other = plant(digits_net, images), plant(digits_net, images, seed=1)
    assert again.sets == garden.sets
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), garden.model.parameters(), strict=True))
    assert other.sets != garden.sets


def test_unknown_kinds_are_refused(digits_net, digits):
    with pytest.raises(UsageError, match="weeds"):
        plant(digits_net, digits.train.tensors[0][:9], kinds=["weeds"])
