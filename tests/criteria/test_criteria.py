"""Scores against slow definitions, and the laws that scores obey."""

import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import FAMILIES, build
from torch import nn

import secateurs as sc
from secateurs.criteria import CRITERIA, temporary_criteria
from secateurs.errors import CriterionError, DataError, DeadUnitsWarning, UnscoredWarning
from secateurs.observe.observe import observe
from secateurs.observe.totals import FiringCounts
from secateurs.structure import outputs_of


def pairwise(maps):
    """NEXP Eq. 10-11 as printed: the mean over all pairs of inputs of the share of positions where they differ.

    maps: [inputs, positions], the activations of one unit.
    """
    binary = (maps > 0).double()
    distances = [(a - b).abs().mean() for a, b in itertools.combinations(binary, 2)]
    return torch.stack(distances).mean()


def test_nexp_is_the_pairwise_definition_on_convolutions_and_linear_layers(net, batches):
    scores = sc.score(net, batches, "nexp")
    x = torch.cat([x for x, _ in batches])
    net.eval()
    with torch.no_grad():
        first = net[:3](x)
        second = net[3:5](first)
        third = net[5:9](second)
    for name, activation in (("0", first), ("3", second), ("7", third)):
        for unit in range(activation.shape[1]):
            expected = pairwise(activation[:, unit].reshape(24, -1))
            assert math.isclose(scores[name][unit], expected, abs_tol=1e-12)


def test_nexp_reads_units_through_flatten_and_tokens():
    model, (x,) = build("flatten with positions")
    with torch.no_grad():
        maps = model[:3](x)
    expected = [pairwise(maps[:, unit].flatten(1)) for unit in range(8)]
    torch.testing.assert_close(sc.score(model, [x], "nexp")["0"], torch.stack(expected))
    tokens, (x,) = build("mlp on tokens")
    with torch.no_grad():
        hidden = tokens[:2](x)
    expected = [pairwise(hidden[:, :, unit]) for unit in range(9)]
    torch.testing.assert_close(sc.score(tokens, [x], "nexp")["0"], torch.stack(expected))


def test_nexp_averages_over_the_places_where_a_stream_is_seen():
    model, (x,) = build("residual")
    with torch.no_grad():
        stem = model[0](x)  # not activated before the first block reads it
        block = model[1](stem)
    expected = [(pairwise(stem[:, u].flatten(1)) + pairwise(block[:, u].flatten(1))) / 2 for u in range(8)]
    torch.testing.assert_close(sc.score(model, [x], "nexp")["0"], torch.stack(expected))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_counts_do_not_depend_on_how_the_samples_are_split(samples, units, positions, seed, data):
    x = torch.randn(samples, units, positions, generator=torch.Generator().manual_seed(seed))
    whole = FiringCounts.of(x)
    cuts = sorted(data.draw(st.lists(st.integers(1, samples - 1), unique=True, max_size=3)))
    parts = [FiringCounts.of(part) for part in torch.tensor_split(x, cuts)]
    order = data.draw(st.permutations(parts))
    merged = order[0]
    for part in order[1:]:
        merged = merged.merge(part)
    right = FiringCounts()
    for part in reversed(order):
        right = part.merge(right)
    for other in (merged, right):
        assert torch.equal(other.samples, whole.samples)
        assert torch.equal(other.counts, whole.counts)
    assert torch.equal(whole.counts.flatten(1), (x > 0).sum(0))
    assert whole.samples.unique().tolist() == [samples]


def test_merging_leaves_both_sides_alone():
    a, b = FiringCounts.of(torch.ones(2, 1, 1)), FiringCounts.of(torch.ones(3, 1, 1))
    a.merge(b)
    assert (a.samples.item(), b.samples.item(), a.counts.item(), b.counts.item()) == (2, 3, 2, 3)


def test_batches_of_any_size_give_the_same_scores(net, batches):
    x = torch.cat([x for x, _ in batches])
    reference = sc.score(net, batches, "nexp")
    for sizes in ([24], [1] * 24, [5, 7, 12]):
        scores = sc.score(net, list(x.split(sizes)), "nexp")
        for name, values in reference.items():
            assert torch.equal(scores[name], values)


def test_dead_and_always_on_units_have_no_expressiveness(net, batches):
    with torch.no_grad():
        net[1].weight[:2] = 0
        net[1].bias[0], net[1].bias[1] = -1, 1
    scores = sc.score(net, batches, "nexp")["0"]
    assert scores[:2].tolist() == [0, 0]
    assert (scores[2:] > 0).all()
    with torch.no_grad():
        net[1].weight.zero_()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sc.score(net, batches, "nexp")
    assert "group '0'" in str(caught[0].message)
    assert caught[0].category is DeadUnitsWarning


def test_a_duplicate_scores_as_high_as_its_original(net, batches):
    """A limit of NEXP that its docs state."""
    with torch.no_grad():
        for layer, names in ((net[0], ("weight", "bias")), (net[1], ("weight", "bias", "running_mean", "running_var"))):
            for name in names:
                getattr(layer, name)[5] = getattr(layer, name)[2]
    scores = sc.score(net, batches, "nexp")["0"]
    assert scores[5] == scores[2]


@pytest.mark.parametrize("power", [1, 2])
def test_magnitudes_are_the_group_norm_over_its_mean(power):
    model, inputs = build("residual")
    s = sc.trace(model, inputs)
    scores = sc.score(model, None, f"l{power}", s)["2.conv2"]
    norms = []
    for unit in range(12):
        slices = [model[2].conv2.weight[unit], model[2].down.weight[unit], model[5].weight[:, unit]]
        norms.append(sum(w.abs().pow(power).sum() for w in slices) ** (1 / power))
    expected = torch.stack(norms)
    torch.testing.assert_close(scores, (expected / expected.mean()).detach())


@pytest.mark.parametrize("criterion", ["nexp", "l1", "l2"])
def test_permuting_units_permutes_scores(net, batches, criterion):
    before = sc.score(net, batches, criterion)
    order = torch.randperm(12)
    with torch.no_grad():
        net[3].weight.copy_(net[3].weight[order])
        net[3].bias.copy_(net[3].bias[order])
        net[7].weight.copy_(net[7].weight[:, order])
    after = sc.score(net, batches, criterion)
    torch.testing.assert_close(after["3"], before["3"][order], rtol=1e-5, atol=0)
    torch.testing.assert_close(after["7"], before["7"], rtol=1e-5, atol=0)


def squared_outputs(outputs, targets):
    """A loss that any model has."""
    return sum(tensor.float().square().mean() for tensor in outputs_of(outputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_criterion_scores_every_group_or_says_why_not(name):
    model, inputs = build(name)
    s = sc.trace(model, inputs)
    data = [(inputs, torch.zeros(len(inputs[0])))]
    for criterion in CRITERIA.values():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                scores = sc.score(model, data, criterion, s, squared_outputs if criterion.needs_loss else None)
                said = " ".join(str(w.message) for w in caught if w.category is UnscoredWarning)
            except CriterionError as error:
                scores, said = {}, str(error)
                assert "can score no group" in said, criterion.name
        for group in s.groups.values():
            assert repr(group.name) in said or "more" in said or len(scores[group.name]) == group.size, criterion.name


def test_random_scores_come_from_the_seed(net, batches):
    a, b, c = (sc.score(net, batches, "random", seed=seed)["3"] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a[:8], sc.score(net, batches, "random", seed=1)["0"])


def test_scoring_leaves_no_trace(net, batches):
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    loader = torch.utils.data.DataLoader(torch.cat([x for x, _ in batches]), 8, shuffle=True)
    sc.score(net, loader, "nexp")
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_random_inputs_serve_as_data(net):
    data = sc.random_inputs((3, 6, 6), 60, batch_size=32)
    assert [len(x) for x in data] == [32, 28]
    assert torch.equal(torch.cat(list(data)), torch.cat(list(data)))
    assert sc.score(net, data, "nexp")["0"].shape == (8,)


def test_a_criterion_is_one_function_outside_the_package(net, batches):
    with temporary_criteria():

        @sc.criterion("spread", source="this test")
        def spread(evidence):
            """Largest weight minus smallest.

            More words.
            """
            return torch.stack([w.amax(1) - w.amin(1) for w in evidence.weights()]).sum(0)

        scores = sc.score(net, batches, "spread")["7"]
        expected = [net[7].weight[0].detach(), net[9].weight[:, 0].detach()]
        assert math.isclose(scores[0], sum(float(w.max() - w.min()) for w in expected), rel_tol=1e-6)
        assert CRITERIA["spread"].summary == "Largest weight minus smallest."
        assert sc.prune(net, batches, criterion="spread", budget="keep:0.5").plan.scope == "local"
        with pytest.raises(CriterionError, match="already"):
            sc.criterion("spread", source="again")(spread)
        with pytest.raises(CriterionError, match="'wide': unknown scope 'everywhere'; choose one of global, per-cost"):
            sc.criterion("wide", source="again", scope="everywhere")(spread)
    assert "spread" not in CRITERIA


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda e: torch.full((e.group.size,), float("nan")), "not finite"),
        (lambda e: torch.zeros(3, 3), "shape"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_with_the_group(net, batches, scores, message):
    bad = sc.criteria.Criterion("bad", scores, "", "global")
    with pytest.raises(CriterionError, match=message) as caught:
        sc.score(net, batches, bad)
    assert "'0'" in str(caught.value)


def test_nan_weights_name_the_group(net, batches):
    with torch.no_grad():
        net[3].weight[4, 0] = float("nan")
    with pytest.raises(CriterionError, match="1 scores of group '0'"):
        sc.score(net, batches, "l1", sc.trace(net, batches[0][0]))
    with pytest.raises(DataError, match=r"group '3'.*not finite"):
        sc.score(net, batches, "nexp")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], DataError, "empty"),
        ([torch.randn(1, 3, 6, 6)], CriterionError, "at least 2"),
        ([torch.randn(4, 3, 6, 6), torch.randn(4, 5, 6, 6)], DataError, r"failed on batch 1 \(float32\[4, 5, 6, 6\]\)"),
        ([torch.randn(4, 3, 6, 6), torch.randn(4, 3, 8, 8)], DataError, "one size"),
        ([torch.full((4, 3, 6, 6), float("inf"))], DataError, "not finite"),
        ([(torch.randn(4, 3, 6, 6), 1, 2)], DataError, "3 elements"),
        (["text"], DataError, "batch 0"),
        (torch.randn(4, 3, 6, 6), DataError, "single batch into a list"),
        (7, DataError, "not a int"),
        (iter([torch.randn(4, 3, 6, 6)]), DataError, "only once"),
    ],
)
def test_bad_data(net, data, error, message):
    with pytest.raises(error, match=message):
        sc.score(net, data, "nexp")


def test_unknown_criteria_and_needless_losses(net, batches):
    with pytest.raises(CriterionError, match=r"unknown criterion 'nxep'; choose from apoz, .*, weight-norm"):
        sc.score(net, batches, "nxep")
    with pytest.raises(CriterionError, match="needs no loss"):
        sc.score(net, batches, "nexp", loss=nn.functional.cross_entropy)


def test_an_iterator_will_do_where_one_pass_is_enough(net, batches):
    s = sc.trace(net, batches[0][0])
    assert torch.equal(sc.score(net, iter(batches), "nexp", s)["0"], sc.score(net, batches, "nexp", s)["0"])


def test_observation_at_a_place_that_is_not_passed_is_an_error():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            h = self.a(x)
            return self.b(h.relu() if len(x) < 5 else h.tanh())

    model = Moody()
    s = sc.trace(model, torch.randn(2, 4))
    with pytest.raises(DataError, match="did not run model: aten::relu"):
        observe(model, [torch.randn(9, 4)], {s.groups["a"].after[0]: [FiringCounts]})


def test_interrupts_leave_no_hooks(net, batches):
    from torch.nn.modules import module as m

    before = len(m._global_forward_hooks), len(m._global_forward_pre_hooks)
    s = sc.trace(net, batches[0][0])

    def interrupted():
        yield batches[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sc.score(net, interrupted(), "nexp", s)
    assert (len(m._global_forward_hooks), len(m._global_forward_pre_hooks)) == before


@pytest.mark.parametrize("traced_on", [1, 3])
@pytest.mark.parametrize("first", [True, False])
def test_samples_are_found_wherever_the_model_keeps_them(traced_on, first):
    """Time before batch, batch before time, and a stack in front of both."""

    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            x = x.transpose(0, 1) if first else torch.stack([x, x])
            return self.b(self.a(x).relu())

    model, x = Sequence(), torch.randn(9, 5, 4)
    with torch.no_grad():
        hidden = model.a(x).relu()
    expected = [pairwise(hidden[..., unit]) for unit in range(6)]
    scores = sc.score(model, [x], "nexp", sc.trace(model, torch.randn(traced_on, 5, 4)))["a"]
    torch.testing.assert_close(scores, torch.stack(expected))


def test_samples_that_are_merged_into_another_dimension_are_told_apart():
    class Merged(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(self.a(x.transpose(0, 1).reshape(-1, 4)).relu()).view(x.shape[1], len(x), 3)

    model, x = Merged(), torch.randn(9, 5, 4)
    with torch.no_grad():
        hidden = model.a(x).relu()
    expected = [pairwise(hidden[..., unit]) for unit in range(6)]
    torch.testing.assert_close(
        sc.prune(model, [x], criterion="nexp", budget="keep:0.5").scores["a"], torch.stack(expected)
    )


def test_the_number_of_samples_is_what_most_tensors_say():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 7), nn.Linear(7, 3)

        def forward(self, mask, x, weight=None):
            return self.b(torch.einsum("st,ntc->nsc", mask, self.a(x)).relu()) * weight[:, None, None]

    model = Masked()
    batch = {"mask": torch.rand(6, 6), "x": torch.randn(8, 6, 5), "weight": torch.ones(8)}
    with torch.no_grad():
        hidden = torch.einsum("st,ntc->nsc", batch["mask"], model.a(batch["x"])).relu()
    expected = [pairwise(hidden[..., unit]) for unit in range(7)]
    torch.testing.assert_close(sc.score(model, [batch], "nexp")["a"], torch.stack(expected))
    with pytest.raises(DataError, match="is ambiguous: 6 or 8"):
        sc.score(model, [{"mask": torch.rand(6, 6), "x": torch.randn(8, 6, 5)}], "nexp")


@pytest.mark.parametrize(
    ("score", "message"),
    [(lambda e: e.nothing, "failed on group '0': AttributeError"), (lambda e: ["x"], "failed on group '0'")],
)
def test_a_criterion_that_fails_is_named(net, batches, score, message):
    with pytest.raises(CriterionError, match=message):
        sc.score(net, batches, sc.criteria.Criterion("mine", score, "", "global"))
    with pytest.raises(CriterionError, match="unknown"):
        sc.score(net, batches, ["l1"])


def test_data_that_cannot_be_read_is_an_error_of_ours(net):
    def broken():
        yield torch.randn(4, 3, 6, 6)
        raise OSError("disk gone")

    with pytest.raises(DataError, match="OSError: disk gone"):
        sc.score(net, broken(), "nexp", sc.trace(net, torch.randn(2, 3, 6, 6)))
