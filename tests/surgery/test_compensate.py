"""Compensation: units that the remaining ones predict can be removed without change of the output."""

import copy

import numpy as np
import pytest
import torch
from support.models import Apply
from support.plans import plan_keeping, random_plan, random_scores
from torch import nn
from torch.nn import functional

import secateurs as sc
from secateurs.errors import DataError, PlanError
from secateurs.observe.observe import observe
from secateurs.surgery.compensate import compensation_statistics


def all_but(size, *removed):
    return tuple(unit for unit in range(size) if unit not in removed)


def pooled_head(width):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)


def attention():
    """Four heads of three, written out so that each is rows of q, k and v."""

    def run(m, x):
        q, k, v = (f(x).unflatten(-1, (-1, 3)).transpose(1, 2) for f in (m.q, m.k, m.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return m.out(mixed.transpose(1, 2).flatten(2))

    return Apply(run, q=nn.Linear(6, 12), k=nn.Linear(6, 12), v=nn.Linear(6, 12), out=nn.Linear(12, 5))


CONSUMERS = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)), (6,), "0", ["0"]),
    "linear without bias": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 5, bias=False)), (6,), "0", ["0"],
    ),
    "tokens": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 5)), (4, 6), "0", ["0"]),
    "convolution with padding": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), *pooled_head(6)
        ),
        (3, 7, 7), "0", ["0", "1"],
    ),
    "flattened map": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 5)), (3, 5, 5), "0", ["0"],
    ),
    "transposed": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3, 2, 1), *pooled_head(4)),
        (3, 6, 6), "0", ["0"],
    ),
    "depthwise in between": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 1),
            *pooled_head(6),
        ),
        (3, 6, 6), "0", ["0", "2"],
    ),
    "heads": (attention, (5, 6), "q:0", ["q", "k", "v"]),
}  # fmt: skip


def copy_unit(module, group, source, target):
    """Make unit `target` of a module's outputs the same as `source`."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.ndim:
                units = tensor.unflatten(0, (group.size, -1))
                units[target] = units[source]


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_duplicate_unit_is_removed_without_change_of_the_output(name):
    make, shape, group, makers = CONSUMERS[name]
    model = make().double().eval()
    x = torch.randn(64, *shape, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    for maker in makers:
        copy_unit(model.get_submodule(maker), s.groups[group], 1, 3)
    plan = plan_keeping(s, {group: all_but(s.groups[group].size, 3)})
    small = sc.apply(model, plan, x[:2], s)
    fresh = torch.randn(32, *shape, dtype=torch.float64)
    with torch.no_grad():
        wanted, cut = model(fresh), small(fresh)
        assert (wanted - cut).abs().max() > 1e-4
        report = sc.compensate(small, model, plan, [x], s)
        assert (wanted - small(fresh)).abs().max() < 1e-8 * wanted.abs().max()
    assert all(report.before[weight] > 1e-3 and report.after[weight] < 1e-6 for weight in report.before)


def test_linear_combinations_are_removed_without_change_of_the_output():
    """Two of ten units are combinations of others after the non-linearity, as no weight of theirs shows."""
    relays = nn.Linear(8, 10)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), relays, nn.ReLU(), nn.Linear(10, 5)).double()
    with torch.no_grad():
        relays.weight.copy_(torch.cat([torch.eye(8), torch.rand(2, 8)]))
        relays.bias.zero_()
    x = torch.randn(200, 6, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    plan = plan_keeping(s, {"2": range(8)})
    small = sc.apply(model, plan, x[:2], s)
    sc.compensate(small, model, plan, list(x.split(64)), s)
    with torch.no_grad():
        assert (model(x) - small(x)).abs().max() < 1e-8 * model(x).abs().max()


def test_a_constant_unit_is_absorbed_by_the_bias():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)).double()
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 0, 3
    x = torch.randn(64, 6, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    plan = plan_keeping(s, {"0": all_but(8, 2)})
    for mean_only in (False, True):
        small = sc.apply(model, plan, x[:2], s)
        sc.compensate(small, model, plan, [x], s, mean_only=mean_only)
        with torch.no_grad():
            torch.testing.assert_close(small(x), model(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("bias", [True, False])
def test_the_new_weights_are_the_least_squares_solution(bias):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5, bias=bias)).double()
    x = torch.randn(500, 6, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    keep = all_but(8, 1, 5)
    plan = plan_keeping(s, {"0": keep})
    small = sc.apply(model, plan, x[:2], s)
    report = sc.compensate(small, model, plan, list(x.split(100)), s)
    with torch.no_grad():
        features, outputs = torch.tanh(model[0](x)).numpy(), model(x).numpy()
    design = features[:, list(keep)]
    design = np.hstack([design, np.ones((500, 1))]) if bias else design
    solution = np.linalg.lstsq(design, outputs, rcond=None)[0]
    ours = np.vstack([small[2].weight.detach().T, *([small[2].bias.detach()[None]] if bias else [])])
    np.testing.assert_allclose(ours, solution, atol=2e-2 * np.abs(solution).max())  # the ridge shrinks a little
    error = np.square(design @ ours - outputs).mean()
    assert error <= np.square(design @ solution - outputs).mean() * 1.01
    energy = np.square(outputs - (model[2].bias.detach().numpy() if bias else 0)).mean()
    assert report.after["2.weight"] == pytest.approx((error / energy) ** 0.5, rel=1e-6)


CONVOLUTIONS = {
    "padded": (lambda: nn.Conv2d(8, 5, 3, padding=1), 2),
    "strided, without bias": (lambda: nn.Conv2d(8, 5, (3, 2), stride=2, padding=(1, 0), bias=False), 2),
    "dilated": (lambda: nn.Conv2d(8, 5, 2, dilation=2), 2),
    "of sequences": (lambda: nn.Conv1d(8, 5, 3, padding=1), 1),
    "of volumes": (lambda: nn.Conv3d(8, 5, (1, 2, 2)), 3),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_weights_are_the_least_squares_solution_per_tap(name):
    make, dims = CONVOLUTIONS[name]
    first = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](3, 8, 1)
    model = nn.Sequential(first, nn.Tanh(), make()).double()
    x = torch.randn(60, 3, *[7, 6, 3][:dims], dtype=torch.float64)
    s = sc.trace(model, x[:2])
    keep = list(all_but(8, 1, 5, 6))
    plan = plan_keeping(s, {"0": keep})
    small = sc.apply(model, plan, x[:2], s)
    sc.compensate(small, model, plan, list(x.split(20)), s)
    # What the convolution makes of one entry of a kernel set to 1 is a column of the design.
    kernels, bias = small[2].weight.detach(), small[2].bias
    basis = torch.eye(kernels[0].numel(), dtype=torch.float64).reshape(-1, *kernels.shape[1:])
    with torch.no_grad():
        design = small[2]._conv_forward(torch.tanh(model[0](x))[:, keep], basis, None).movedim(1, -1).flatten(0, -2)
        outputs, ours = (y.movedim(1, -1).flatten(0, -2) for y in (model(x), small(x)))
    design = design if bias is None else torch.cat([design, torch.ones(len(design), 1, dtype=torch.float64)], 1)
    best = design @ torch.linalg.lstsq(design, outputs).solution
    error, least = (float((y - outputs).square().mean()) for y in (ours, best))
    assert least <= error * (1 + 1e-9)
    assert error <= 1.02 * least  # the ridge shrinks a little


def test_the_bias_of_a_layer_on_a_flattened_map_shifts_by_the_mean_loss():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 5)).double()
    x = torch.randn(100, 3, 5, 5, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    plan = plan_keeping(s, {"0": all_but(6, 2)})
    small = sc.apply(model, plan, x[:2], s)
    sc.compensate(small, model, plan, [x], s, mean_only=True)
    with torch.no_grad():
        maps = model[:2](x)
        lost = maps[:, 2].mean() * model[3].weight[:, 2 * 9 : 3 * 9].sum(1)
    torch.testing.assert_close(small[3].bias - model[3].bias, lost)


GROUPED = {
    "convolution": lambda: nn.Conv2d(8, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(8, 6, 3, 2, groups=2),
}


@pytest.mark.parametrize("kind", GROUPED)
def test_each_group_of_a_grouped_convolution_compensates_with_its_own_channels(kind):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), GROUPED[kind](), *pooled_head(6)).double()
    x = torch.randn(40, 3, 7, 7, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    inner = next(g for g in s.groups.values() if g.name.startswith("0") and g.size == 4)
    with torch.no_grad():  # in each of the two groups, the last channel repeats the first
        for tensor in model[0].parameters():
            tensor[3], tensor[7] = tensor[0], tensor[4]
    plan = plan_keeping(s, {inner.name: (0, 1, 2)})
    small = sc.apply(model, plan, x[:2], s)
    report = sc.compensate(small, model, plan, [x], s)
    with torch.no_grad():
        assert (model(x) - small(x)).abs().max() < 1e-8 * model(x).abs().max()
    assert report.after["2.weight"] < 1e-6


def test_several_groups_and_their_consumers_shrink_together(net, batches):
    net.eval()
    s = sc.trace(net, batches[0][0])
    plan = random_plan(s, "keep:0.6")
    small = sc.apply(net, plan, batches[0][0], s)
    report = sc.compensate(small, net, plan, batches, s)
    assert set(report.before) == {"3.weight", "7.weight", "9.weight"}
    assert all(report.after[name] <= report.before[name] + 1e-9 for name in report.before)
    assert not report.skipped
    assert "9.weight" in str(report)


def test_a_shared_layer_is_compensated_for_all_uses():
    def run(m, x):
        return m.leave(torch.relu(m.enter(x)) + torch.relu(m.enter(2 * x + 1)))

    model = Apply(run, enter=nn.Linear(6, 8), leave=nn.Linear(8, 5)).double()
    x = torch.randn(64, 6, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    copy_unit(model.enter, s.groups["enter"], 0, 7)
    plan = plan_keeping(s, {"enter": range(7)})
    small = sc.apply(model, plan, x[:2], s)
    sc.compensate(small, model, plan, [x], s)
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), rtol=0, atol=1e-8)


def test_compensation_from_few_samples_improves_other_samples():
    """With fewer samples than units least squares fits anything; the ridge that is chosen must hold it back."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5)).double()
    x, fresh = torch.randn(24, 20, dtype=torch.float64), torch.randn(500, 20, dtype=torch.float64)
    s = sc.trace(model, x[:2])
    plan = plan_keeping(s, {"0": range(32)})
    small = sc.apply(model, plan, x[:2], s)
    with torch.no_grad():
        wanted = model(fresh)
        before = (small(fresh) - wanted).square().mean()
        sc.compensate(small, model, plan, [x], s)
        after = (small(fresh) - wanted).square().mean()
    assert after < before


def test_flap_keeps_only_the_mean_and_needs_a_bias():
    with_bias = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)).double()
    x = torch.randn(64, 6, dtype=torch.float64)
    s = sc.trace(with_bias, x[:2])
    plan = plan_keeping(s, {"0": all_but(8, 4)})
    small = sc.apply(with_bias, plan, x[:2], s)
    sc.compensate(small, with_bias, plan, [x], s, mean_only=True)
    mean = torch.relu(with_bias[0](x)).mean(0)[4]
    torch.testing.assert_close(small[2].bias, with_bias[2].bias + with_bias[2].weight[:, 4] * mean)
    torch.testing.assert_close(small[2].weight, with_bias[2].weight[:, list(all_but(8, 4))])
    bare = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5, bias=False)).double()
    s = sc.trace(bare, x[:2])
    small = sc.apply(bare, plan_keeping(s, {"0": all_but(8, 4)}), x[:2], s)
    report = sc.compensate(small, bare, plan_keeping(s, {"0": all_but(8, 4)}), [x], s, mean_only=True)
    assert report.skipped == {"2.weight": "the layer has no bias to absorb the mean"}


def test_a_tied_lookup_table_is_skipped():
    model = Apply(
        lambda m, x: functional.linear(m.norm(m.table(x)), m.table.weight),
        table=nn.Embedding(11, 8),
        norm=nn.LayerNorm(8),
    )
    tokens = torch.randint(11, (4, 6))
    s = sc.trace(model, tokens, kinds="all")
    (name,) = s.groups
    plan = plan_keeping(s, {name: range(6)})
    small = sc.apply(model, plan, tokens, s)
    before = copy.deepcopy(small.state_dict())
    report = sc.compensate(small, model, plan, [tokens], s)
    assert report.skipped == {"table.weight": "the weight is also a lookup table"}
    assert all(torch.equal(tensor, before[key]) for key, tensor in small.state_dict().items())


def test_a_model_that_was_already_compensated_is_refused(net, batches):
    s = sc.trace(net, batches[0][0])
    plan = sc.allocate(s, random_scores(s), "keep:0.6")
    small = sc.apply(net, plan, batches[0][0], s)
    sc.compensate(small, net, plan, batches, s)
    with pytest.raises(PlanError, match="compensate only once, right after the cut"):
        sc.compensate(small, net, plan, batches, s)


def test_the_dense_model_is_not_changed(net, batches):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    result = sc.prune(net, batches, criterion="l1", budget="keep:0.5")
    assert result.compensation is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_prune_compensates_by_default(net, batches):
    x = torch.cat([x for x, _ in batches])
    net.eval()
    plain = sc.prune(net, batches, criterion="l2", budget="keep:0.5", compensate=False)
    better = sc.prune(net, batches, criterion="l2", budget="keep:0.5")
    assert plain.compensation is None
    assert plain.plan == better.plan
    with torch.no_grad():
        error, compensated = ((m(x) - net(x)).square().mean() for m in (plain.model, better.model))
    assert compensated < error


class CountedBatches(list):
    """Batches that count how often they were read."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


def test_prune_observes_what_scoring_and_compensation_need_in_one_pass(net, batches):
    x, shared, apart = batches[0][0], CountedBatches(batches), CountedBatches(batches)
    together = sc.prune(net, shared, criterion="obs", budget="keep:0.5", example_inputs=x)
    s = together.structure
    small = sc.apply(net, together.plan, x, s)
    scores = sc.score(net, apart, "obs", s)
    report = sc.compensate(small, net, together.plan, apart, s)
    assert (shared.passes, apart.passes) == (1, 2)
    assert report == together.compensation
    assert all(torch.equal(values, together.scores[name]) for name, values in scores.items())
    theirs = together.model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in small.state_dict().items())


@pytest.mark.parametrize(("between", "passes"), [(None, 3), (lambda model: None, 3 + 2)])  # batch norms
def test_each_of_several_rounds_reads_the_data_once(net, batches, between, passes):
    data = CountedBatches(batches)
    result = sc.prune(
        net,
        data,
        criterion="nexp",
        budget="keep:0.5",
        example_inputs=batches[0][0],
        schedule=sc.Schedule(3),
        between=between,
    )
    assert data.passes == passes
    assert result.compensation is not None
    assert result.compensation.errors


def test_observed_statistics_can_be_reused_for_other_plans(net, batches):
    s = sc.trace(net, batches[0][0])
    data = CountedBatches(batches)
    observed = observe(net, data, compensation_statistics(s))
    for seed in range(3):
        plan = sc.allocate(s, random_scores(s, seed), "keep:0.6")
        once, again = (sc.apply(net, plan, batches[0][0], s) for _ in range(2))
        assert sc.compensate(once, net, plan, batches, s) == sc.compensate(again, net, plan, data, s, observed=observed)
        assert all(torch.equal(tensor, once.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert data.passes == 1


def test_an_iterator_is_refused_where_two_passes_are_needed(net, batches):
    x = batches[0][0]
    with pytest.raises(DataError, match="compensate=False"):
        sc.prune(net, iter(batches), criterion="taylor", example_inputs=x)
    with pytest.raises(DataError, match="compensate=False"):
        sc.prune(net, iter(batches), criterion="nexp", example_inputs=x, schedule=sc.Schedule(2))
    assert sc.prune(net, iter(batches), criterion="taylor", example_inputs=x, compensate=False)
    assert sc.prune(net, iter(batches), criterion="nexp", example_inputs=x).compensation
