"""Statistics and gradients against slow definitions, and what they leave behind."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.gradients import differentiate
from support.models import build
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss

import secateurs as sc
from secateurs.criteria import Request
from secateurs.data.call import as_call
from secateurs.errors import CriterionError, DataError
from secateurs.observe.feature_maps import MapRanks, NuclearDrops
from secateurs.observe.gradients import curvature, synaptic_flow
from secateurs.observe.observe import memory, observe
from secateurs.observe.samples import Pooled, Sampled
from secateurs.observe.totals import FiringCounts, Moments, Totals

COMMUTATIVE = (FiringCounts, Totals, Moments)
OF_SAMPLES = (Pooled, Sampled, MapRanks, NuclearDrops)
STATISTICS = (*COMMUTATIVE, *OF_SAMPLES)
SEEDS = st.integers(0, 10**6)
SIZES = st.tuples(st.integers(1, 8), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
"""Samples, units, rows and columns: fewer and more units than positions, and only one of each."""


def activations(sizes, seed, dtype=torch.float64):
    x = torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x.relu() if seed % 2 else x


def seen(kind, *parts):
    """The statistic that was updated with these parts."""
    statistic = kind()
    for part in parts:
        statistic = statistic.extended(part)
    return statistic


def assert_same(one, other):
    assert type(one) is type(other)
    torch.testing.assert_close(one.state(), other.state(), rtol=1e-9, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(SIZES, SEEDS)
def test_totals_are_sums_over_samples_and_positions(sizes, seed):
    x = activations(sizes, seed)
    totals = seen(Totals, x)
    for unit in range(sizes[1]):
        values = [float(v) for v in x[:, unit].flatten()]
        mean = sum(values) / len(values)
        found = (totals.mean, totals.mean_magnitude, totals.mean_square, totals.variance)
        expected = (
            mean,
            sum(abs(v) for v in values) / len(values),
            sum(v * v for v in values) / len(values),
            sum((v - mean) ** 2 for v in values) / len(values),
        )
        assert [float(its[unit]) for its in found] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_totals_of_half_precision_do_not_overflow():
    x = torch.full((4, 2, 100), 300.0, dtype=torch.float16)  # squares are above the largest float16
    totals = seen(Totals, x)
    assert totals.mean_square.tolist() == pytest.approx([90000, 90000])
    assert totals.mean.dtype == torch.float64


def test_a_small_variance_about_a_large_mean_is_not_lost_in_single_precision():
    x = 1000 + 0.1 * torch.randn(32, 3, 20)
    torch.testing.assert_close(
        seen(Totals, *x.split(7)).variance, x.double().var((0, 2), correction=0), rtol=1e-4, atol=0
    )


@settings(max_examples=30, deadline=None)
@given(SIZES, SEEDS)
def test_moments_are_mean_products_of_the_units_and_of_one(sizes, seed):
    x = activations(sizes, seed)
    expected = torch.zeros(sizes[1] + 1, sizes[1] + 1, dtype=torch.float64)
    for sample in x:
        for vector in sample.flatten(1).T:
            with_one = torch.tensor([*vector.tolist(), 1.0], dtype=torch.float64)
            expected += torch.outer(with_one, with_one) / (sizes[0] * sizes[2] * sizes[3])
    torch.testing.assert_close(seen(Moments, x).mean, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(SIZES, SEEDS)
def test_pooled_values_are_means_over_positions(sizes, seed):
    x = activations(sizes, seed)
    expected = [[float(x[n, u].mean()) for u in range(sizes[1])] for n in range(sizes[0])]
    torch.testing.assert_close(seen(Pooled, x).values, torch.tensor(expected, dtype=torch.float64))


def test_sampled_positions_are_evenly_spaced_from_the_first_to_the_last(monkeypatch):
    monkeypatch.setattr(Sampled, "POSITIONS", 4)
    x = activations((3, 2, 2, 5), 0)
    assert torch.equal(seen(Sampled, x).values, x.flatten(2)[:, :, [0, 3, 6, 9]])
    few = x[:, :, :, :1]
    assert torch.equal(seen(Sampled, few).values, few.flatten(2))


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(0, 3), SEEDS)
def test_map_ranks_are_those_of_numpy_sample_by_sample(sizes, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    samples, units, height, width = sizes
    left = torch.randn(samples, units, height, rank, generator=generator, dtype=torch.float64)
    x = left @ torch.randn(samples, units, rank, width, generator=generator, dtype=torch.float64)
    expected = [[int(np.linalg.matrix_rank(x[n, u].numpy())) for u in range(units)] for n in range(samples)]
    assert seen(MapRanks, x).values.tolist() == expected


@settings(max_examples=20, deadline=None)
@given(SIZES, SEEDS)
@example((3, 5, 1, 2), 0)  # more units than positions
@example((3, 2, 2, 3), 0)
def test_nuclear_drops_are_those_of_singular_values_with_one_row_at_zero(sizes, seed):
    x = activations(sizes, seed)
    expected = np.zeros(sizes[:2])
    for number, sample in enumerate(x.flatten(2).numpy()):
        for unit in range(sizes[1]):
            without = sample.copy()
            without[unit] = 0
            expected[number, unit] = np.linalg.norm(sample, "nuc") - np.linalg.norm(without, "nuc")
    torch.testing.assert_close(seen(NuclearDrops, x).values, torch.from_numpy(expected), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("kind", [MapRanks, NuclearDrops])
def test_units_without_maps_have_no_statistic_of_maps(kind):
    statistic = seen(kind, activations((4, 3), 0))
    assert statistic.state() == {"values": None}
    assert_same(statistic.merge(seen(kind, activations((4, 3, 2, 2), 0))), seen(kind, activations((4, 3, 2, 2), 0)))


@pytest.mark.parametrize("kind", STATISTICS[1:])
@settings(max_examples=30, deadline=None)
@given(SIZES, SEEDS, st.data())
def test_however_samples_are_split_the_statistic_is_that_of_all(kind, sizes, seed, data):
    x = activations(sizes, seed)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=3)))
    parts = [part for part in torch.tensor_split(x, cuts) if len(part)]
    whole = seen(kind, x)
    assert_same(seen(kind, *parts), whole)
    merged = kind()
    for part in parts:
        merged = merged.merge(seen(kind, part))
    assert_same(merged, whole)


@pytest.mark.parametrize("kind", OF_SAMPLES)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10), SEEDS, st.data())
def test_only_the_first_samples_are_kept_however_they_come(kind, largest, seed, data):
    x = activations((9, 3, 2, 2), seed)
    cuts = sorted(data.draw(st.lists(st.integers(0, 9), max_size=3)))
    parts = [part for part in torch.tensor_split(x, cuts) if len(part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "LARGEST", max(largest, 1))
        assert_same(seen(kind, *parts), seen(kind, x[: max(largest, 1)]))


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("largest", [3, 100])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=3), SEEDS)
def test_merging_is_associative_and_where_order_plays_no_part_commutative(kind, largest, samples, seed):
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(kind, "LARGEST"):
            patch.setattr(kind, "LARGEST", largest)
        sizes = [(n, 3, 2, 2) for n in samples]
        a, b, c = (seen(kind, *[activations(its, seed + i)] * (its[0] > 0)) for i, its in enumerate(sizes))
        assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))
        if kind in COMMUTATIVE:
            assert_same(a.merge(b), b.merge(a))


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("empty", ["neither", "left", "right"])
def test_what_is_done_with_a_merged_statistic_leaves_both_sides_alone(kind, empty):
    x = activations((4, 3, 2, 2), 0)
    left = kind() if empty == "left" else seen(kind, x)
    right = kind() if empty == "right" else seen(kind, x)
    before = copy.deepcopy((left.state(), right.state()))
    merged = left.merge(right)
    merged.extended(x)
    torch.testing.assert_close((left.state(), right.state()), before, rtol=0, atol=0)


def test_maps_of_another_width_are_refused():
    with pytest.raises(DataError, match="rows of 4 and of 6 positions"):
        seen(FiringCounts, torch.ones(2, 3, 5, 4), torch.ones(2, 3, 5, 6))


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("shapes", [[], [(4, 3, 2, 2)], [(4, 3)]])
def test_the_state_makes_the_statistic_again(kind, shapes):
    """What resumed runs and other ranks go by."""
    statistic = seen(kind, *(activations(shape, 0) for shape in shapes))
    again = kind(**statistic.state())
    torch.testing.assert_close(again.state(), statistic.state(), rtol=0, atol=0)
    x = activations((2, 3, *shapes[0][2:]) if shapes else (2, 3, 2, 2), 1)
    torch.testing.assert_close(again.extended(x).state(), statistic.extended(x).state(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [MapRanks, NuclearDrops])
def test_no_more_maps_are_looked_at_than_are_kept(kind, monkeypatch):
    looked, values_of = [], kind.values_of
    monkeypatch.setattr(kind, "LARGEST", 5)
    monkeypatch.setattr(kind, "values_of", lambda x, lengths: looked.append(len(x)) or values_of(x, lengths))
    seen(kind, *activations((9, 2, 3, 3), 0).split(3))
    assert looked == [3, 2]


def bytes_of(statistic):
    tensors = [its for its in statistic.state().values() if isinstance(its, torch.Tensor)]
    return sum(its.numel() * its.element_size() for its in tensors)


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("samples", [3, 11])
def test_the_size_is_that_of_the_state(kind, samples, monkeypatch):
    for name in {"LARGEST", "POSITIONS"} & set(dir(kind)):
        monkeypatch.setattr(kind, name, 5)
    statistic = seen(kind, activations((samples, 4, 2, 3), 0, torch.float32))
    assert kind.size(samples, 4, 6) == bytes_of(statistic)


@pytest.mark.parametrize("traced", [1, 2])
@pytest.mark.parametrize("place", ["operand", "maps"])  # in the latter, the 36 positions of a map are one feature
def test_memory_is_the_sum_of_all_states(traced, place):
    model, (x,) = build("flatten with positions")
    model, x = model.float(), torch.randn(7, *x.shape[1:])
    s = sc.trace(model, x[:traced])
    wanted = {
        s.groups["0"].after[0]: STATISTICS,
        Request(place, Moments).of(s.contractions[-1]).operand: (Totals, Moments),
    }
    found = observe(model, x.split([3, 4]), wanted)
    assert len(found) == len(STATISTICS) + 2
    assert memory(wanted, 7) == sum(map(bytes_of, found.values()))


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_named_whatever_is_collected(kind, value):
    model, (x,) = build("vgg")
    s = sc.trace(model, x)
    x[1, 2, 3, 3] = value
    with pytest.raises(DataError, match=r"group '0': the activations at 1: aten::relu_ #0 are not finite"):
        observe(model, [x], {s.groups["0"].after[0]: [kind]})


# Gradients


def smooth():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    return model.double(), torch.randn(9, 3).double(), torch.randint(3, (9,))


def uneven(x, y, sizes=(5, 1, 3)):
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


def loss_at(model, x, y, loss=cross_entropy):
    """The loss as a function of the parameters, and their names and values."""
    names, values = zip(*((name, p.detach().clone()) for name, p in model.named_parameters()), strict=True)
    return (lambda *its: loss(functional_call(model, dict(zip(names, its, strict=True)), (x,)), y)), names, values


def gradient_of(model, x, y):
    f, names, values = loss_at(model, x, y)
    return dict(zip(names, torch.autograd.functional.jacobian(f, values), strict=True))


def hessian_of(model, x, y, loss=cross_entropy):
    """The matrix over all parameters, one after the other."""
    f, _, values = loss_at(model, x, y, loss)
    blocks = torch.autograd.functional.hessian(f, values)
    sizes = [value.numel() for value in values]
    rows = [[b.reshape(m, n) for b, n in zip(row, sizes, strict=True)] for row, m in zip(blocks, sizes, strict=True)]
    return torch.cat([torch.cat(row, 1) for row in rows])


def flat(tensors):
    return torch.cat([its.flatten() for its in tensors.values()])


@pytest.mark.parametrize("kinds", [{"gradient"}, {"gradient", "fisher"}])
def test_the_gradient_is_that_of_the_mean_loss_of_all_samples_however_batches_are_cut(kinds):
    model, x, y = smooth()
    found = differentiate(model, uneven(x, y), kinds)
    assert set(found) == kinds
    torch.testing.assert_close(dict(found["gradient"]), gradient_of(model, x, y))


def test_fisher_is_the_mean_of_squared_gradients_sample_by_sample():
    model, x, y = smooth()
    singles = [gradient_of(model, x[n : n + 1], y[n : n + 1]) for n in range(9)]
    expected = {name: sum(its[name] ** 2 for its in singles) / 9 for name in singles[0]}
    torch.testing.assert_close(dict(differentiate(model, uneven(x, y), ["fisher"])["fisher"]), expected)


def test_batches_that_are_dicts_of_a_model_with_a_loss_of_its_own_are_taken_apart_too():
    class Own(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x, labels):
            return {"loss": cross_entropy(self.net(x), labels)}

    model, x, y = smooth()
    found = differentiate(Own(model), [{"x": a, "labels": b} for a, b in uneven(x, y)], ["fisher", "gradient"])
    expected = differentiate(model, uneven(x, y), ["fisher", "gradient"])
    for kind, its in expected.items():
        torch.testing.assert_close(dict(found[kind]), {f"net.{name}": value for name, value in its.items()})


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 6, 0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


def scale_output(module, unit, gate):
    """Multiply one unit of what a module puts out."""
    vector = torch.ones(module.units, dtype=torch.float64)
    vector[unit] = gate
    return module.register_forward_hook(lambda _m, _a, out: out * vector.reshape(-1, *[1] * (out.ndim - 2)))


def scale_value(attention, head, gate):
    """Multiply what one head of width 4 puts out, by way of its values."""
    rows, saved = slice(16 + 4 * head, 20 + 4 * head), copy.deepcopy(attention.state_dict())
    with torch.no_grad():
        attention.in_proj_weight[rows] *= gate
        attention.in_proj_bias[rows] *= gate
    return SimpleNamespace(remove=lambda: attention.load_state_dict(saved))


@pytest.mark.parametrize("consumer", ["linear", "convolution", "attention"])
def test_the_gate_is_what_the_loss_feels_when_a_unit_is_scaled(consumer):
    if consumer == "attention":
        model, x, group, scale = Attention(), torch.randn(5, 3, 8), "block.self_attn:1", scale_value
        nn.init.normal_(model.block.self_attn.in_proj_bias)
        module, units = model.block.self_attn, 2
    else:
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.Tanh(),
            nn.Flatten(), nn.Linear(6, 3),
        )  # fmt: skip
        x, scale = torch.randn(5, 2, 6, 6), scale_output
        module, group, units = (model[5], "4", 6) if consumer == "linear" else (model[2], "0", 4)
        module.units = units
        model[3] = nn.AvgPool2d(2)  # which lets a factor through, of either sign
    model, x, y = model.double().eval(), x.double(), torch.randint(3, (5,))
    s = sc.trace(model, x)
    found = differentiate(model, [(x[:3], y[:3]), (x[3:], y[3:])], ["gate"], structure=s)["gate"][group]
    step, losses = 1e-5, []
    for gate in (1 - step, 1 + step):
        for unit in range(units):
            handle = scale(module, unit, gate)
            with torch.no_grad():
                losses.append(cross_entropy(model(x), y, reduction="none"))
            handle.remove()
    low, high = torch.stack(losses).split(units)
    torch.testing.assert_close(found, ((high - low) / (2 * step)).square().mean(1), rtol=1e-6, atol=1e-12)


def test_the_hessian_diagonal_of_the_first_batch_is_within_the_error_of_its_probes():
    model, x, y = smooth()
    hessian = hessian_of(model, x[:5], y[:5])
    seeds = 4
    runs = [differentiate(model, uneven(x, y), ["hessian"], seed=seed)["hessian"] for seed in range(seeds)]
    estimate = torch.stack([flat(run) for run in runs]).mean(0)
    # The variance of an entry is the sum of squares of the rest of its row, by the number of probes.
    variance = (hessian.square().sum(1) - hessian.diagonal().square()) / (curvature.PROBES * seeds)
    assert ((estimate - hessian.diagonal()).abs() <= 5 * variance.sqrt() + 1e-12).all()


def test_a_diagonal_hessian_is_found_exactly():
    """Outputs of a linear layer on unit vectors depend on one weight each, so that a squared error mixes none."""
    model, x, y = nn.Linear(4, 2, bias=False).double(), torch.eye(4).double(), torch.randn(4, 2).double()
    hessian = hessian_of(model, x, y, mse_loss)
    assert not (hessian - torch.diag(hessian.diagonal())).any()
    found = differentiate(model, [(x, y)], ["hessian"], mse_loss)["hessian"]
    torch.testing.assert_close(flat(found), hessian.diagonal())


def test_the_product_with_the_gradient_is_that_of_the_whole_hessian():
    model, x, y = smooth()
    found = differentiate(model, uneven(x, y), ["hessian-gradient"])
    expected = hessian_of(model, x, y) @ flat(gradient_of(model, x, y))
    torch.testing.assert_close(flat(found["hessian-gradient"]), expected)


def test_attention_is_differentiated_twice():
    model = Attention().double().eval()
    x, y = torch.randn(4, 3, 8).double(), torch.randint(3, (4,))
    found = differentiate(model, [(x, y)], ["gradient", "hessian-gradient"])
    step = 1e-5
    with torch.no_grad():
        for name, p in model.named_parameters():
            p += step * found["gradient"][name]
    moved = differentiate(model, [(x, y)], ["gradient"])["gradient"]
    slope = {name: (moved[name] - its) / step for name, its in found["gradient"].items()}
    torch.testing.assert_close(slope, dict(found["hessian-gradient"]), rtol=1e-3, atol=1e-5)


def test_parameters_that_require_no_gradient_are_differentiated_too():
    model, x, y = smooth()
    expected = gradient_of(model, x, y)
    model.requires_grad_(False)
    torch.testing.assert_close(dict(differentiate(model, [(x, y)], ["gradient"])["gradient"]), expected)


def test_synaptic_flow_is_magnitude_times_the_slope_of_all_outputs_on_ones():
    model, (x,) = build("residual")
    flow = synaptic_flow(model, as_call(x))
    positive = copy.deepcopy(model)
    for name, tensor in positive.state_dict().items():
        tensor.copy_(torch.zeros_like(tensor) if name.endswith("running_mean") else tensor.abs())
    positive(torch.ones_like(x)).sum().backward()
    for name, p in positive.named_parameters():
        torch.testing.assert_close(flow[name], p.detach() * p.grad)


def test_what_flows_into_a_unit_flows_out_of_it():
    """SynFlow's conservation (Theorem 1) of units of rectified networks without biases."""
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU(),
                          nn.Linear(5, 3, bias=False))  # fmt: skip
    flow = synaptic_flow(model.eval(), as_call(torch.randn(2, 4)))
    for before, after in (("0.weight", "2.weight"), ("2.weight", "4.weight")):
        torch.testing.assert_close(flow[before].sum(1), flow[after].sum(0))


def test_nothing_flows_through_masked_units():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    keep = torch.tensor([1.0, 0, 1, 1, 0, 1])
    flow = synaptic_flow(model, as_call(torch.randn(2, 4)), {"2.weight": keep.expand(3, 6)})
    assert ((flow["2.weight"].sum(0) > 0) == keep.bool()).all()
    assert ((flow["0.weight"].sum(1) > 0) == keep.bool()).all()


def test_token_numbers_are_ones_as_well():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
    flow = synaptic_flow(model, as_call(torch.tensor([[0, 2, 4], [3, 3, 3]])))
    assert flow["0.weight"].any(1).tolist() == [False, True, False, False, False]


def test_a_flow_that_is_not_finite_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(CriterionError, match="flow is not finite"):
        synaptic_flow(model.eval(), as_call(torch.ones(1, 2)))


# What is left behind


def everything(model):
    """All that a caller could find changed."""
    flags = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    values = {name: (id(tensor), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    return values, flags, [module.training for module in model.modules()], torch.get_rng_state()


def well(batches):
    yield from batches


def without_targets(batches):
    yield batches[0]
    yield batches[1][0]


def interrupted(batches):
    yield batches[0]
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("read", "error"), [(well, None), (without_targets, DataError), (interrupted, KeyboardInterrupt)]
)
@pytest.mark.parametrize("kinds", [{"gradient"}, {"fisher", "gate"}, {"hessian"}, {"hessian-gradient"}])
def test_differentiating_leaves_the_model_as_it_was(net, batches, kinds, read, error, monkeypatch):
    monkeypatch.setattr(curvature, "PROBES", 3)

    class Again:
        def __iter__(self):
            return read(batches)

    net.train()
    net[1].eval()
    net[3].requires_grad_(False)
    net.append(nn.Dropout(0.5))
    net[0].weight.grad = torch.ones_like(net[0].weight)
    structure = sc.trace(net, batches[0][0])
    before = everything(net)
    if error is None or kinds == {"hessian"}:  # which reads one batch
        differentiate(net, Again(), kinds, structure=structure)
    else:
        with pytest.raises(error):
            differentiate(net, Again(), kinds, structure=structure)
    torch.testing.assert_close(everything(net), before, rtol=0, atol=0)


@pytest.mark.parametrize("broken", [False, True])
def test_measuring_synaptic_flow_leaves_the_model_as_it_was(net, images, broken):
    net.train()
    net[3].requires_grad_(False)
    before = everything(net)
    if broken:
        with pytest.raises(CriterionError, match="does not run in float64 on an input of ones"):
            synaptic_flow(net, as_call(images[:, :2]))
    else:
        synaptic_flow(net, as_call(images))
    torch.testing.assert_close(everything(net), before, rtol=0, atol=0)


# Bad input


@pytest.mark.parametrize("kinds", [{"gradient"}, {"fisher"}, {"hessian"}])
@pytest.mark.parametrize(
    ("data", "loss", "message"),
    [
        ([torch.randn(4, 3, 6, 6)], None, "batch 0 has no targets and the model returns no loss"),
        ([(torch.randn(4, 3, 6, 6), torch.rand(4, 7))], None, "the loss function failed on batch 0"),
        ([(torch.randn(4, 2, 6, 6), torch.zeros(4))], None, r"the model failed on batch 0 \(float32\[\d, 2, 6, 6\]\)"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4))], lambda o, t: torch.ones(()), "batch 0 has no gradient"),
        ([(torch.randn(4, 3, 6, 6), torch.zeros(4))], lambda o, t: o[0], "must return a scalar"),
        ([], None, "empty"),
    ],
)
def test_data_that_gives_no_gradient_is_refused(net, kinds, data, loss, message):
    with pytest.raises(DataError, match=message):
        differentiate(net, data, kinds, loss)


@pytest.mark.parametrize("kind", ["gradient", "fisher", "hessian", "hessian-gradient"])
def test_a_gradient_that_is_not_finite_names_its_parameter(kind):
    model, x, y = smooth()
    with torch.no_grad():
        model[2].bias[0] = float("nan")
    with pytest.raises(DataError, match=r"the \S+ of '[02]\.(weight|bias)' is not finite"):
        differentiate(model, [(x, y)], [kind])


def test_places_that_see_the_same_tensor_share_the_work(monkeypatch):
    model, (x,) = build("mlp")
    s = sc.trace(model, x)
    group = s.groups["0"]
    after, operand = group.after[0], s.contractions_of(group)[0].operand
    seen_by = []
    of = Totals.of
    monkeypatch.setattr(Totals, "of", lambda x, lengths: seen_by.append(len(x)) or of(x, lengths))
    found = observe(model, x.split(2), {after: [Totals], operand: [Totals]})
    assert sum(seen_by) == len(x)
    assert torch.equal(found[after, Totals].variance, found[operand, Totals].variance)
    with torch.no_grad():
        expected = model[:2](x).var(0, correction=0)
    torch.testing.assert_close(found[after, Totals].variance, expected)
