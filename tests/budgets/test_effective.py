"""EMP: the effective number of components, and the certificate of it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import secateurs as sc
from secateurs.budgets import effective
from secateurs.budgets.effective import certificate, certificates, effective_count, effective_counts
from secateurs.errors import AllZeroWarning, BudgetError, CriterionError

positive = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)


def by_definition(values):
    """1 / Σ ω² with ω = |s| / Σ |s|, in exact order of the paper's Algorithm 1."""
    omega = [abs(v) / math.fsum(values) for v in values]
    return 1 / math.fsum(w * w for w in omega)


@settings(deadline=None)
@given(positive, st.floats(0.1, 3))
def test_the_count_is_the_floor_of_beta_times_the_effective_sample_size(values, beta):
    wanted = beta * by_definition(values)
    count = effective_count(torch.tensor(values, dtype=torch.float64), beta)
    assert min(max(math.floor(wanted * (1 - 1e-9)), 1), len(values)) <= count
    assert count <= min(max(math.floor(wanted * (1 + 1e-9)), 1), len(values))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 49, 1000, 11008])
def test_equal_scores_are_all_effective_whatever_their_number(n):
    """In floating point N_eff of equal scores often falls short of N by a rounding error."""
    for value in (1.0, 0.1, 1 / 3, 1e-300, 1e300):
        assert effective_count(torch.full((n,), value, dtype=torch.float64)) == n


def test_the_count_does_not_depend_on_scale_and_order():
    scores = torch.rand(50, dtype=torch.float64)
    count = effective_count(scores)
    assert effective_count(scores * 1e200) == count
    assert effective_count(scores.flip(0)) == count


def test_signed_scores_are_shifted_by_their_minimum():
    scores = torch.tensor([-3.0, -1.0, 0.0, 2.0])
    assert effective_count(scores) == effective_count(torch.tensor([0.0, 2.0, 3.0, 5.0]))


def test_gaussian_weights_are_36_percent_redundant():
    """1 − N_eff / N is CV² / (1 + CV²), which is 1 − 2/π for magnitudes of normal numbers (criteria.md)."""
    proof = certificate(torch.randn(200_000).abs(), 1, 1)
    assert proof.n_eff / proof.components == pytest.approx(2 / math.pi, abs=0.005)
    assert proof.components / proof.n_eff == pytest.approx(1 + proof.cv**2)


@settings(deadline=None, max_examples=300)
@given(st.integers(4, 60), st.floats(0.05, 4), st.integers(0, 10**6))
def test_the_kept_mass_is_never_below_the_bound(n, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n, generator=generator, dtype=torch.float64) ** (1 / shape)
    if seed % 2:
        scores = scores / (1 - scores).clamp(min=1e-9)
    proof = certificate(scores, 1, effective_count(scores))
    if proof.bound is not None:
        assert proof.mass >= proof.bound - 1e-12
        assert proof.mass >= proof.sharper_bound - 1e-12
        assert proof.sharper_bound >= proof.bound - 1e-12


def test_the_bound_is_reached_by_one_large_score_among_equal_ones():
    """The configuration at which Prop. 1 is tight: the N_eff of this configuration gives back exactly the kept mass."""
    scores = torch.full((20,), 1.0, dtype=torch.float64)
    scores[3] = 4.0
    proof = certificate(scores, 1, effective_count(scores))
    assert proof.mass == pytest.approx(proof.sharper_bound, abs=1e-12)


def test_no_bound_is_given_where_the_proposition_does_not_apply():
    """With ν = 1 it is false: two equal scores and many small ones keep less than it promises."""
    alone = torch.tensor([1.0, 0.999] + [1e-3] * 98)
    assert effective_count(alone, 0.5) == 1
    assert certificate(alone, 0.5, 1).bound is None
    steep = torch.tensor([1.0] + [1e-6] * 9)
    assert certificate(steep, 1, effective_count(steep)).bound is None
    uneven = torch.arange(1.0, 11)
    assert certificate(uneven, 1, effective_count(uneven)).bound is not None
    assert certificate(uneven, 0.9, effective_count(uneven, 0.9)).bound is None
    assert certificate(uneven, 1, effective_count(uneven) + 1).bound is None


def test_all_zero_scores_keep_everything_with_a_warning():
    with pytest.warns(AllZeroWarning, match="group 'a'"):
        assert effective_count(torch.zeros(7), where="group 'a'") == 7
    with pytest.warns(AllZeroWarning):
        assert effective_count(torch.full((7,), -2.0)) == 7


@pytest.mark.parametrize("bad", [[float("nan"), 1.0], [float("inf"), 1.0], []])
def test_scores_that_are_not_finite_are_an_error_naming_the_group(bad):
    with pytest.raises(CriterionError, match="group 'a'"):
        effective_count(torch.tensor(bad), where="group 'a'")


def structure_and_scores(net, images):
    s = sc.trace(net, images)
    generator = torch.Generator().manual_seed(0)
    return s, {name: torch.rand(g.size, generator=generator).double() ** 3 for name, g in s.groups.items()}


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5])
def test_scope_global_keeps_the_best_units_of_all_groups(net, images, beta):
    s, scores = structure_and_scores(net, images)
    plan = sc.allocate(s, scores, f"effective:{beta}")
    everything = torch.cat(list(scores.values()))
    count = effective_count(everything, beta)
    assert sum(plan.widths.values()) == count
    threshold = everything.sort(descending=True).values[count - 1]
    assert plan.keep == {n: tuple((s >= threshold).nonzero().flatten().tolist()) for n, s in scores.items()}
    assert plan.certificates["all groups"].kept == count


def test_scope_local_counts_each_group_separately(net, images):
    s, scores = structure_and_scores(net, images)
    plan = sc.allocate(s, scores, "effective", scope="local")
    assert plan.widths == {name: effective_count(s) for name, s in scores.items()}
    assert {name: c.components for name, c in plan.certificates.items()} == {n: g.size for n, g in s.groups.items()}


def test_limits_override_the_effective_number_and_the_certificate_has_the_result(net, images):
    s, scores = structure_and_scores(net, images)
    plan = sc.allocate(s, scores, "effective:0.1", limits=sc.Limits(floor=0.75, multiple=4), scope="local")
    assert plan.widths == {"0": 8, "3": 12, "7": 12}
    assert plan.certificates["7"].kept == 12


def test_equal_scores_keep_the_lower_index(net, images):
    s, scores = structure_and_scores(net, images)
    scores = {name: torch.cat([torch.ones(len(s) - 3), torch.zeros(3)]) for name, s in scores.items()}
    plan = sc.allocate(s, scores, "effective:0.5", scope="local")
    assert all(keep == tuple(range(len(keep))) for keep in plan.keep.values())


def test_a_plan_with_certificates_is_saved_and_read(net, images, tmp_path):
    s, scores = structure_and_scores(net, images)
    plan = sc.allocate(s, scores, "effective")
    plan.save(tmp_path / "plan.json")
    assert sc.Plan.load(tmp_path / "plan.json") == plan
    assert "N_eff" in str(plan)


@pytest.mark.parametrize(
    "budget", ["effective:0", "effective:-1", "effective:x", "effective:inf", "effectiv", "effective:"]
)
def test_malformed_budgets_are_refused(net, images, budget):
    s, scores = structure_and_scores(net, images)
    with pytest.raises(BudgetError, match='"effective"'):
        sc.allocate(s, scores, budget)


@pytest.mark.filterwarnings("ignore::secateurs.errors.AllZeroWarning")
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 12), st.floats(0.2, 2), st.integers(1, 30), st.integers(0, 10**6))
def test_several_pools_give_the_counts_and_certificates_of_single_pools(pools, n, beta, part, seed):
    """Whatever is looked at together; with negative scores, rows of zeros and equal scores among them."""
    scores = torch.randn(pools, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores[:: 2 + seed % 2] = scores[:: 2 + seed % 2].abs()
    scores[1::4], scores[3::4] = 0.0, 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effective, "PART", part)
        counts = effective_counts(scores, beta)
        proofs = certificates(scores, beta, counts)
    assert counts.tolist() == [effective_count(row, beta) for row in scores]
    for row, count, proof in zip(scores, counts.tolist(), proofs, strict=True):
        alone = certificate(row, beta, count)
        assert (proof.kept, proof.components, proof.beta) == (alone.kept, alone.components, alone.beta)
        assert (proof.bound is None) == (alone.bound is None)
        for field in ("n_eff", "cv", "mass") + ("bound", "sharper_bound") * (proof.bound is not None):
            assert getattr(proof, field) == pytest.approx(getattr(alone, field), rel=1e-9, abs=1e-12)


def test_one_warning_counts_the_pools_of_equal_scores():
    scores = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    with pytest.warns(AllZeroWarning, match=r"all scores of an output of a \(2 of 3\) are zero") as caught:
        assert effective_counts(scores, 1, "an output of a").tolist() == [2, 1, 2]
    assert len(caught) == 1


@pytest.mark.parametrize("criterion", ["wanda", "l1"])
def test_each_output_of_a_weight_keeps_its_own_effective_number_of_entries(criterion):
    """Wanda-EMP and magnitude-EMP, by their definition."""
    model, x = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)), torch.randn(9, 7)
    masked = sc.mask(model, [x], criterion, "effective", scope="row")
    seen = {"0.weight": x, "2.weight": model[0](x).relu()}
    for name, mask in masked.masks.items():
        size = seen[name].square().mean(0).sqrt() if criterion == "wanda" else 1
        for row, kept in zip(model.get_parameter(name).detach().abs() * size, mask, strict=True):
            count = math.floor(by_definition(row.tolist()))
            assert set(kept.nonzero().flatten().tolist()) == set(row.topk(count).indices.tolist())
        assert [c.kept for c in masked.certificates[name]] == mask.sum(1).tolist()
