"""Hybrids: weighted sums of criteria, and weights that find themselves."""

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.criteria.normalizers import NORMALIZERS
from secateurs.criteria.tune import ALPHAS, EverySecond
from secateurs.errors import CriterionError, DataError
from secateurs.evaluate.quality import mean_loss
from secateurs.surgery.cut import mask as masked
from secateurs.utils.restore import batch_statistics


@pytest.fixture
def parts(net, batches):
    return sc.score_many(net, batches, ["l1", "nexp"], sc.trace(net, batches[0][0]))


def test_each_part_is_divided_by_its_group_s_mean_and_weighted(net, batches, parts):
    scores = sc.score(net, batches, sc.Hybrid({"nexp": 0.7, "l1": 0.3}))
    for group, its in scores.items():
        l1, nexp = parts["l1"][group], parts["nexp"][group]
        torch.testing.assert_close(its, 0.7 * nexp / nexp.mean() + 0.3 * l1 / l1.mean())


def test_alpha_is_the_weight_of_the_second_as_in_the_paper(net, batches):
    ours = sc.score(net, batches, sc.Hybrid(("l1", "nexp"), alpha=0.2))
    assert all(torch.equal(its, ours[g]) for g, its in sc.score(net, batches, "0.8*l1+0.2*nexp").items())


@pytest.mark.parametrize(("alpha", "only"), [(0, "l1"), (1, "nexp")])
def test_at_its_ends_a_hybrid_ranks_as_one_part_does(net, batches, parts, alpha, only):
    scores = sc.score(net, batches, sc.Hybrid(("l1", "nexp"), alpha=alpha))
    assert all(torch.equal(its.argsort(), parts[only][group].argsort()) for group, its in scores.items())


def test_ranks_are_shares_of_the_group_and_shared_by_equals():
    scores = torch.tensor([3.0, 1.0, 3.0, 7.0], dtype=torch.float64)
    assert NORMALIZERS["rank"](scores).tolist() == [0.5, 0.125, 0.5, 0.875]


def test_robust_z_is_the_distance_from_the_median_in_median_deviations():
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0], dtype=torch.float64)
    expected = (scores - 3) / 1.4826
    torch.testing.assert_close(NORMALIZERS["robust-z"](scores), expected)


@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_scaling_a_part_changes_no_hybrid(parts, normalize):
    hybrid = sc.Hybrid({"l1": 1, "nexp": 2}, normalize)
    scaled = {"l1": {g: 5 * its for g, its in parts["l1"].items()}, "nexp": parts["nexp"]}
    for group, its in hybrid.join(parts).items():
        torch.testing.assert_close(hybrid.join(scaled)[group], its)


def test_a_composite_can_be_part_of_a_hybrid(net, batches):
    scores = sc.score(net, batches, "0.5*ndi+0.5*l1")
    assert {name: len(its) for name, its in scores.items()} == {"0": 8, "3": 12, "7": 16}


def test_automatic_weights_are_never_worse_on_the_held_out_half_than_one_weight_for_all(net, batches):
    s = sc.trace(net, batches[0][0])
    parts = sc.score_many(net, [batches[0], batches[2]], ["l1", "nexp"], s)
    held_out = EverySecond(batches, 1)
    tuned = sc.Hybrid(("l1", "nexp"), alpha="auto").tune(parts, net, s, held_out)

    def loss(hybrid):
        keep = {
            name: tuple(sorted(its.argsort(descending=True, stable=True)[: round(len(its) / 2)].tolist()))
            for name, its in hybrid.join(parts).items()
        }
        model = masked(net, s.keep_masks(keep))
        with batch_statistics(model):
            return mean_loss(model, held_out)

    assert loss(tuned) <= min(loss(sc.Hybrid(("l1", "nexp"), alpha=alpha)) for alpha in ALPHAS) + 1e-6
    assert set(tuned.of_group) == set(s.groups)


def test_automatic_weights_come_from_one_half_of_the_batches_and_are_judged_on_the_other(net, batches):
    s = sc.trace(net, batches[0][0])
    halves = [batches[0], batches[2]]
    parts = sc.score_many(net, halves, ["l1", "nexp"], s)
    tuned = sc.Hybrid(("l1", "nexp"), alpha="auto").tune(parts, net, s, [batches[1]])
    scores = sc.score(net, batches, "auto*l1+auto*nexp", s)
    expected = tuned.join(sc.score_many(net, batches, ["l1", "nexp"], s))
    assert all(torch.equal(its, scores[group]) for group, its in expected.items())


def test_automatic_weights_need_several_labelled_batches_that_can_be_read_again(net, batches):
    with pytest.raises(DataError, match="at least two batches"):
        sc.score(net, batches[:1], "auto*l1+auto*nexp")
    with pytest.raises(DataError, match="no targets"):
        sc.score(net, [x for x, _ in batches], "auto*l1+auto*nexp")
    with pytest.raises(DataError, match="reads the data"):
        sc.score(net, iter(batches), "auto*l1+auto*nexp", sc.trace(net, batches[0][0]))


def test_a_loss_of_the_user_s_own_decides_on_weights(net, batches):
    seen = []

    def loss(outputs, targets):
        seen.append(len(targets))
        return nn.functional.cross_entropy(outputs, targets)

    sc.score(net, batches, "auto*l1+auto*nexp", loss=loss)
    assert seen


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.Hybrid({"l1": 1}), "several criteria"),
        (lambda: sc.Hybrid(("l1", "nexp")), "alpha"),
        (lambda: sc.Hybrid(("l1", "nexp"), alpha=1.5), "alpha"),
        (lambda: sc.Hybrid(("l1", "nexp", "l2"), alpha="auto"), "two criteria and an alpha"),
        (lambda: sc.Hybrid({"l1": 1, "nxep": 1}), "unknown criterion 'nxep'"),
        (lambda: sc.Hybrid({"l1": -1, "nexp": 1}), "numbers ≥ 0"),
        (lambda: sc.Hybrid({"l1": 0, "nexp": 0}), "not all zero"),
        (lambda: sc.Hybrid({"l1": 1, "nexp": float("nan")}), "numbers ≥ 0"),
        (lambda: sc.Hybrid({"l1": 1, "nexp": 1}, normalize="max"), "mean, rank, robust-z"),
        (lambda: sc.criteria.parse_criterion("0.7*nexp+l1"), "not a sum"),
        (lambda: sc.criteria.parse_criterion("x*nexp+1*l1"), "not a sum"),
    ],
)
def test_hybrids_that_mean_nothing_are_refused(make, message):
    with pytest.raises(CriterionError, match=message):
        make()


def test_batch_statistics_are_those_of_the_batch_and_leave_no_trace(net, batches):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = batches[0][0]
    net.train()
    with torch.no_grad():
        expected = net[1](net[0](x))
    net.load_state_dict(before)
    net.eval()
    with torch.no_grad(), batch_statistics(net):
        torch.testing.assert_close(net[1](net[0](x)), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", ["l2", "ndi", "0.5*l1+0.5*nexp"])
def test_reversed_is_the_opposite_order(net, batches, name):
    found = sc.score_many(net, batches, [name, f"reversed-{name}"])
    for group, scores in found[name].items():
        assert torch.equal(found[f"reversed-{name}"][group], -scores)
    plan = sc.prune(net, batches, criterion=f"reversed-{name}", budget="keep:0.5", compensate=False).plan
    assert plan.scope == "global"  # the scopes of some are for scores of 0 or more


def test_what_finds_its_weights_cannot_be_reversed(net, batches):
    with pytest.raises(CriterionError, match=r"cannot be reversed, .*give fixed weights"):
        sc.score(net, batches, "reversed-auto*l1+auto*nexp")
    with pytest.raises(CriterionError, match="unknown criterion 'nexpp'"):
        sc.score(net, batches, "reversed-nexpp")
