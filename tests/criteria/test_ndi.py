"""NDI's components against the paper's formulas, what goes wrong as printed, and the report of its theorems."""

import math
from statistics import NormalDist, median

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from support.gradients import differentiate
from support.plans import random_plan
from torch import nn

import secateurs as sc
from secateurs.criteria.collect import memory_of
from secateurs.criteria.correlation import SHRINKAGE, correlation, correlation_bounds, sampling_error
from secateurs.criteria.families import ndi
from secateurs.criteria.parse import parse_criterion
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import CriterionError, DataError, FewSamplesWarning, PlanError
from secateurs.observe.gradients import curvature
from secateurs.observe.samples import Pooled
from secateurs.pruning.ndi_report import ndi_report


def linear():
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    return model, "0", torch.randn(50, 6), lambda m, x: m[:2](x), lambda m: [m[0].weight]


def convolution():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return model, "0", torch.randn(40, 3, 6, 6), lambda m, x: m[:3](x).mean((2, 3)), lambda m: [m[0].weight]


def transformer():
    model = nn.TransformerEncoderLayer(8, 2, 12, 0.0, nn.functional.gelu, batch_first=True)
    model.eval()

    def hidden(m, x):
        x = m.norm1(x + m.self_attn(x, x, x)[0])
        return nn.functional.gelu(m.linear1(x)).mean(1)

    return model, "linear1", torch.randn(40, 5, 8), hidden, lambda m: [m.linear1.weight]


KINDS = [linear, convolution, transformer]


def regressed(z):
    """1 − R² of each unit on all others, by least squares, a share s of each unit being noise of its own."""
    centred = z - z.mean(0)
    normal = centred / np.sqrt((centred**2).sum(0))
    rows = np.concatenate([math.sqrt(1 - SHRINKAGE) * normal, math.sqrt(SHRINKAGE) * np.eye(len(z[0]))])
    found = []
    for c in range(len(z[0])):
        peers = np.delete(rows, c, axis=1)
        rest = rows[:, c] - peers @ np.linalg.lstsq(peers, rows[:, c], rcond=None)[0]
        found.append(rest @ rest)
    return found


def least_alike(z):
    r = np.corrcoef(z.T)
    return [1 - max(r[c, j] ** 2 for j in range(len(r)) if j != c) for c in range(len(r))]


def loadings(z, modes=None):
    """φ of Eq. 5-9, or Eq. 38 with the leading modes alone."""
    stable = 1e-5
    covariance = np.cov(z.T)  # divides by N − 1
    deviation = np.sqrt(np.diag(covariance) + stable)
    r = covariance / np.outer(deviation, deviation)
    values, vectors = np.linalg.eigh(r)
    order = np.argsort(-values)[:modes]
    return [sum(vectors[c, k] ** 2 * values[k] for k in order) / (values.sum() + stable) for c in range(len(r))]


def printed_diversity(phi):
    return [1 - (x - min(phi)) / (max(phi) - min(phi) + 1e-8) for x in phi]


def entropy(column, pool):
    """Eq. 17-18, with the edges of the bins at the 16-quantiles of `pool`."""
    ordered = sorted(pool)
    edges = [ordered[round(b / 16 * (len(ordered) - 1))] for b in range(1, 16)]
    counts = [0] * 16
    for value in column:
        counts[sum(edge <= value for edge in edges)] += 1
    shares = [(n + 1) / (len(column) + 16) for n in counts]
    return (-sum(p * math.log(p) for p in shares) + 15 / (2 * len(column))) / math.log(16)


REFERENCES = {
    "diversity": regressed,
    "max-correlation": least_alike,
    "diversity-literal": lambda z: printed_diversity(loadings(z)),
    "diversity-topk": lambda z: printed_diversity(loadings(z, len(z[0]) // 2)),
    "informativeness": lambda z: [min(entropy(column, z.flatten()), 1) for column in z.T],
    "informativeness-literal": lambda z: [entropy(column, column) for column in z.T],
}


@pytest.mark.parametrize("criterion", REFERENCES)
@pytest.mark.parametrize("make", KINDS)
def test_diversity_and_informativeness_are_their_definitions(make, criterion):
    model, name, x, hidden, _ = make()
    model, x = model.double().eval(), x.double()
    with torch.no_grad():
        z = hidden(model, x).numpy()
    np.testing.assert_allclose(sc.score(model, [x], criterion)[name], REFERENCES[criterion](z), atol=1e-6)


@pytest.mark.parametrize("make", KINDS)
def test_weight_norms_are_relative_to_the_layers_mean(make):
    model, name, x, _, weights = make()
    made_by = [w.detach() for w in weights(model)]
    norms = [sum(float((w[unit] ** 2).sum()) for w in made_by) ** 0.5 for unit in range(len(made_by[0]))]
    expected = [norm / (sum(norms) / len(norms)) for norm in norms]
    np.testing.assert_allclose(sc.score(model, [x], "weight-norm")[name], expected, rtol=1e-5)


def small_net():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def test_the_hessians_diagonal_is_within_the_error_of_its_probes(monkeypatch):
    """Eq. 19, whose variance is Σ_{j ≠ i} H_ij² / m."""
    model, x, y = small_net(), torch.randn(10, 3).double(), torch.randint(3, (10,))
    monkeypatch.setattr(curvature, "PROBES", 300)
    names, shapes = zip(*[(n, p.shape) for n, p in model.named_parameters()], strict=True)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(theta):
        parts = theta.split([s.numel() for s in shapes])
        values = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, values, (x,)), y)

    h = torch.autograd.functional.hessian(loss, flat)
    found = differentiate(model, [(x, y)], ["hessian"])["hessian"]
    estimate = torch.cat([found[name].flatten() for name in names])
    error = (h.square().sum(1) - h.diagonal().square()).sqrt() / math.sqrt(300)
    assert ((estimate - h.diagonal()).abs() < 5 * error + 1e-12).all()
    assert (estimate - h.diagonal()).square().mean().sqrt() > 0.3 * error.square().mean().sqrt()


def test_literal_sensitivity_is_the_mean_over_the_parameters_that_make_a_unit():
    """Eq. 20-21."""
    model, data = small_net(), [(torch.randn(10, 3).double(), torch.randint(3, (10,)))]
    diagonal = differentiate(model, data, ["hessian"])["hessian"]
    raw = [(float(diagonal["0.weight"][c].sum()) + float(diagonal["0.bias"][c])) / 4 for c in range(4)]
    expected = [(s - min(raw)) / (max(raw) - min(raw) + 1e-8) for s in raw]
    np.testing.assert_allclose(sc.score(model, data, "sensitivity-literal")["0"], expected, rtol=1e-9, atol=1e-12)


def printed_calibration(layers):
    """Eq. 12-16, value by value."""
    robust = []
    for values in layers:
        middle = median(values)
        deviation = median(abs(v - middle) for v in values)
        robust.append([(v - middle) / (1.4826 * deviation + 1e-8) for v in values])
    everything = [r for layer in robust for r in layer]
    mean = sum(everything) / len(everything)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in everything) / len(everything))
    return [[NormalDist().cdf((r - mean) / (deviation + 1e-8)) for r in layer] for layer in robust]


@pytest.fixture
def components():
    """Scores of three components in two layers, of scales that differ."""
    scales = {"a": 1.0, "b": 50.0}
    sizes = {"a": 9, "b": 14}
    return {part: {n: scales[n] * torch.rand(sizes[n]).double() + 0.01 for n in scales} for part in "dus"}


@pytest.mark.parametrize("calibrate", [ndi.calibrate, ndi.calibrate_live])
def test_calibration_is_its_definition(components, calibrate):
    """Of the default, too, where nothing is dead or tied."""
    expected = printed_calibration([its.tolist() for its in components["d"].values()])
    for values, its in zip(expected, calibrate(components["d"]).values(), strict=True):
        np.testing.assert_allclose(its, values, rtol=1e-6)


def test_calibrated_values_lie_between_0_and_1_whatever_the_scale_of_a_layer(components):
    found = ndi.calibrate_live(components["d"])
    for its in found.values():
        assert 0 < its.min() < 0.5 < its.max() < 1
    larger = {name: 1000 * its for name, its in components["d"].items()}
    for name, its in ndi.calibrate_live({**components["d"], "b": larger["b"]}).items():
        torch.testing.assert_close(its, found[name])


@pytest.mark.parametrize("exponents", [(1, 1, 1), (2, 0.5, 3)])
def test_the_index_is_the_product_of_calibrated_components(components, exponents):
    """Eq. 22."""
    layers = {part: printed_calibration([its.tolist() for its in components[part].values()]) for part in "dus"}
    found = ndi.index(components, ndi.calibrate, exponents)
    for number, its in enumerate(found.values()):
        for c, value in enumerate(its):
            factors = [(layers[part][number][c] + 1e-3) ** power for part, power in zip("dus", exponents, strict=True)]
            assert value == pytest.approx(math.prod(factors), rel=1e-6)


@pytest.fixture
def labelled():
    """Two layers of ReLUs, and data with labels, more of it than units."""
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        model[0].bias += 0.3
        model[2].bias += 0.3
    return model, [(torch.randn(50, 6), torch.randint(3, (50,))) for _ in range(4)]


def test_ndi_is_the_index_times_the_norm_of_weights(labelled):
    """Eq. 36."""
    model, data = labelled
    parts = sc.score_many(model, data, ["diversity", "informativeness", "fisher", "weight-norm", "ndi-index", "ndi"])
    index = ndi.index({n: parts[n] for n in ndi.COMPONENTS}, ndi.calibrate_live, (1, 1, 1))
    for name in ("0", "2"):
        torch.testing.assert_close(parts["ndi-index"][name], index[name])
        torch.testing.assert_close(parts["ndi"][name], index[name] * parts["weight-norm"][name])


def test_the_literal_form_joins_the_literal_components(labelled):
    model, data = labelled
    parts = sc.score_many(model, data, [*ndi.LITERAL_COMPONENTS, "ndi-index-literal"])
    index = ndi.index({n: parts[n] for n in ndi.LITERAL_COMPONENTS}, ndi.calibrate, (1, 1, 1))
    torch.testing.assert_close(parts["ndi-index-literal"]["2"], index["2"])


def test_exponents_weigh_the_components(labelled):
    model, data = labelled
    informative = sc.score(model, data, "informativeness")["0"]
    ranks = [
        spearmanr(sc.score(model, data, criterion)["0"], informative)[0]
        for criterion in (ndi.differentiation(9, 0.1, 9), ndi.differentiation(), ndi.differentiation(0.1, 9, 0.1))
    ]
    assert ranks == sorted(ranks)
    assert ranks[-1] > 0.9
    torch.testing.assert_close(sc.score(model, data, ndi.differentiation())["0"], sc.score(model, data, "ndi")["0"])


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan, "2"])
def test_exponents_must_be_positive_numbers(bad):
    with pytest.raises(CriterionError, match="must be numbers > 0"):
        ndi.differentiation(1, bad, 1)


# What goes wrong as printed, and not by default.


def passing(z):
    """A model whose hidden units are the columns of z, when that is what it is fed."""
    units = z.shape[1]
    model = nn.Sequential(nn.Linear(units, units, bias=False), nn.Linear(units, 3)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(units))
    return model


def scored(z, criterion):
    return sc.score(passing(z), [z], criterion)["0"]


def normal(samples=1024, units=12):
    return torch.randn(samples, units, dtype=torch.float64)


def test_literal_diversity_ranks_by_falling_variance_and_dead_units_first():
    """φ_c = R_cc / tr R is one number for all units, but for ε_stab."""
    z = normal() * torch.linspace(0.5, 2, 12)
    z[:, 4] = 0.1 * z[:, 5] + 0.1  # the smallest, and redundant
    phi = loadings(z.numpy())
    assert (max(phi) - min(phi)) / max(phi) < 2e-3
    assert spearmanr(scored(z, "diversity-literal"), -z.var(0))[0] == pytest.approx(1)
    z[:, 4] = 0
    assert scored(z, "diversity-literal")[4] == pytest.approx(1, abs=1e-4)
    assert scored(z, "diversity")[4] == 0


def test_literal_informativeness_is_above_one_for_whatever_is_continuous():
    z = normal() ** 3 * torch.linspace(0.1, 10, 12)
    literal, default = scored(z, "informativeness-literal"), scored(z, "informativeness")
    assert literal.min() == pytest.approx(1.0026, abs=1e-4)
    assert literal.max() - literal.min() < 1e-4
    assert 0 <= default.min() < default.max() <= 1
    assert default.max() - default.min() > 0.2


def test_few_probes_make_literal_sensitivities_negative_on_relus(monkeypatch, labelled):
    model, data = labelled
    negative = {}
    for probes in (1, 100):
        monkeypatch.setattr(curvature, "PROBES", probes)
        diagonal = differentiate(model, data[:1], ["hessian"])["hessian"]
        sums = torch.cat([diagonal[f"{n}.weight"].sum(1) + diagonal[f"{n}.bias"] for n in (0, 2)])
        negative[probes] = int((sums < 0).sum())
    assert negative[1] > negative[100]
    assert negative[1] > 2


def test_dead_units_are_below_live_ones_by_every_default(labelled):
    model, data = labelled
    with torch.no_grad():
        model[0].bias[:3] = -100
        model[0].weight[3] = 0
        model[0].bias[3] = 0.5  # constant, but not zero
    scores = sc.score_many(model, data, ["diversity", "max-correlation", "informativeness", "ndi-index", "ndi"])
    for its in scores.values():
        assert its["0"][:4].max() < its["0"][4:].min()
    for name in ("diversity", "max-correlation", "informativeness"):
        assert scores[name]["0"][:4].tolist() == [0] * 4
        assert scores[name]["0"][4:].max() <= 1


def test_dead_units_do_not_move_the_scores_of_others(labelled):
    model, data = labelled
    before = sc.score_many(model, data, ["diversity", "informativeness"])
    wider = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        wider[0].weight[:16], wider[0].bias[:16] = model[0].weight, model[0].bias
        wider[0].bias[16:] = -100
    after = sc.score_many(wider, data, ["diversity", "informativeness"])
    for name, its in before.items():
        torch.testing.assert_close(after[name]["0"][:16], its["0"])


def test_a_layer_that_is_mostly_dead_does_not_level_all_others():
    """Its median absolute deviation is 0; as printed, Eq. 13 divides by ε."""
    scores = {"mostly dead": torch.tensor([0.0] * 8 + [0.2, 0.4, 0.3, 0.1]), "other": torch.rand(12) + 0.1}
    scores = {name: its.double() for name, its in scores.items()}
    printed, found = ndi.calibrate(scores)["other"], ndi.calibrate_live(scores)["other"]
    assert printed.max() - printed.min() < 1e-3
    assert found.max() - found.min() > 0.5
    assert ndi.calibrate_live(scores)["mostly dead"][:8].tolist() == [0] * 8


def test_a_layer_whose_units_mostly_tie_does_not_level_all_others():
    tied = 1e6 * torch.tensor([1.0] * 8 + [0.9, 0.8, 0.7])
    scores = {"tied": tied, "other": torch.rand(12) + 0.1, "equal": torch.ones(5)}
    found = ndi.calibrate_live({name: its.double() for name, its in scores.items()})
    assert found["other"].max() - found["other"].min() > 0.5
    assert found["equal"].unique().numel() == 1


@pytest.mark.parametrize("scores", [torch.zeros(5), torch.full((5,), 0.3)])
def test_layers_without_differences_are_calibrated_all_the_same(scores):
    assert ndi.calibrate_live({"a": scores.double()})["a"].unique().numel() == 1


# What the components see.


def test_copies_and_sums_of_others_are_not_diverse():
    z = normal()
    z[:, 3] = -2 * z[:, 2] + 5
    z[:, 7] = z[:, 4] + z[:, 5] - z[:, 6]
    found = scored(z, "diversity")
    planted = torch.zeros(12, dtype=torch.bool)
    planted[2:8] = True  # whoever is in such a sum can be had from the rest
    assert found[planted].max() < 0.01
    assert found[~planted].min() > 0.9
    alone = scored(z, "max-correlation")
    assert alone[2:4].max() < 1e-12
    assert alone[7] > 0.5  # blind to sums


def test_near_duplicates_are_seen_by_the_largest_correlation():
    z = normal()
    z[:, 1] = z[:, 0] + 0.3 * normal()[:, 1]
    alone = scored(z, "max-correlation")
    assert alone[:2].max() < 0.15 < 0.9 < alone[2:].min()


def test_one_sample_is_an_error_and_no_more_than_units_a_warning():
    z = normal(12)
    structure = sc.trace(passing(z), z[:2])
    with pytest.raises(CriterionError, match="at least 2 samples"):
        sc.score(passing(z), [z[:1]], "informativeness", structure)
    with pytest.warns(FewSamplesWarning, match=r"group '0' has 12 units, but 12 samples can show at most 11"):
        sc.score(passing(z), [z], "diversity", structure)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        sizes = ((inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, k // 2, bias=False) for i, o, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in sizes)
        self.down = None
        if inputs != 4 * width:
            self.down = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = x
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y if number == 0 else y.relu()))
        return (y + (x if self.down is None else self.down(x))).relu()


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if width > 64 and block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def test_a_thousand_samples_of_a_large_network_fit_into_memory():
    """All units of a ResNet-50, wherever they are seen, and a gradient per parameter."""
    with torch.device("meta"):
        model = resnet50()
    assert sum(len(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d)) == 26560
    structure = sc.trace(model, torch.empty(2, 3, 64, 64, device="meta"))
    used = memory_of(parse_criterion("ndi").leaves, structure, 1000)
    units = sum(tap.size for group in structure.groups.values() for tap in group.after)
    assert used == Pooled.size(1000, units, 1) + 4 * sum(p.numel() for p in model.parameters())
    assert used < 0.5 * 2**30


# The report.


def test_the_norms_are_those_of_the_removed_parameters(net, batches):
    structure = sc.trace(net, batches[0][0])
    plan = random_plan(structure)
    report = ndi_report(net, plan, batches, structure)
    gone = {name: list(its) for name, its in plan.removed().items()}
    made = [net[0].weight[gone["0"]], net[0].bias[gone["0"]], net[1].weight[gone["0"]], net[1].bias[gone["0"]]]
    made += [net[3].weight[gone["3"]], net[3].bias[gone["3"]], net[7].weight[gone["7"]], net[7].bias[gone["7"]]]
    assert report.made == pytest.approx(math.sqrt(sum(float(w.detach().square().sum()) for w in made)))
    stay = [list(plan.keep[name]) for name in ("0", "3", "7")]
    consumed = [net[3].weight[stay[1]][:, gone["0"]], net[7].weight[stay[2]][:, gone["3"]], net[9].weight[:, gone["7"]]]
    both = sum(float(w.detach().square().sum()) for w in [*made, *consumed])
    assert report.removed == pytest.approx(math.sqrt(both))


def test_the_change_is_that_of_the_outputs_when_removed_units_are_zero():
    model, x = nn.Sequential(nn.Linear(6, 9), nn.Sigmoid(), nn.Linear(9, 3)), torch.randn(20, 6)
    structure = sc.trace(model, x[:2])
    plan = random_plan(structure)
    gone = list(plan.removed()["0"])
    with torch.no_grad():
        lost = model[:2](x)[:, gone] @ model[2].weight[:, gone].T
    report = ndi_report(model, plan, [x[:13], x[13:]])
    expected = math.sqrt(sum(float(row.norm()) ** 2 for row in lost) / 20)
    assert report.change == pytest.approx(expected, rel=1e-5)
    assert report.ratio == pytest.approx(expected / report.removed, rel=1e-5)


def test_the_report_leaves_the_model_alone(net, batches):
    before = {name: t.clone() for name, t in net.train().state_dict().items()}
    structure = sc.trace(net, batches[0][0])
    ndi_report(net, random_plan(structure), batches, structure)
    assert net.training
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def plan_and_data(z):
    model = passing(z)
    structure = sc.trace(model, z[:2])
    return model, random_plan(structure), [z], structure


def checked(z):
    return ndi_report(*plan_and_data(z)).groups["0"]


def test_samples_are_enough_where_the_gap_is_wide():
    """Six signals in twelve units: the gap at half of them is wide. Independent units have none."""
    signals = normal(2000, 6)
    wide = checked(torch.cat([signals, signals + 0.2 * normal(2000, 6)], 1))
    assert wide.samples == 2000
    assert wide.units == 12
    assert wide.gap > 1
    assert wide.enough
    none = checked(normal(2000))
    assert not none.enough
    assert none.needed > 2000 > wide.needed


def test_a_gap_that_was_enough_is_not_with_few_samples():
    signals = normal(16, 6)
    few = checked(torch.cat([signals, signals + 0.2 * normal(16, 6)], 1))
    assert not few.enough


@pytest.mark.parametrize("samples", [200, 2000])
def test_the_error_of_correlations_is_about_what_two_halves_say(samples):
    """Of independent units R is the identity, so that the error is known."""
    z = normal(samples, 20)
    true = torch.linalg.matrix_norm(correlation(z) - torch.eye(20), 2)
    assert sampling_error(z) == pytest.approx(float(true), rel=0.35)


def test_dead_units_have_no_part_in_the_check():
    z = normal(100)
    z[:, :5] = 0
    assert checked(z).units == 7
    z[:, 1:] = 0
    assert not checked(z).enough
    assert checked(z).needed == math.inf


def test_the_report_prints_as_a_table(net, batches):
    structure = sc.trace(net, batches[0][0])
    text = str(ndi_report(net, random_plan(structure), batches, structure))
    assert "Lipschitz constant of Theorem 3.6 is at least" in text
    assert "unknown" in text
    assert sum(line.split()[:1] in (["0"], ["3"], ["7"]) for line in text.splitlines()) == 3


def test_what_cannot_be_reported_is_an_error(net, batches):
    model, plan, (z,), structure = plan_and_data(normal(20))
    with pytest.raises(DataError, match="3 samples are too few"):
        ndi_report(model, plan, [z[:3]], structure)
    with pytest.raises(DataError, match="only once"):
        ndi_report(model, plan, iter([z]), structure)
    with pytest.raises(PlanError, match="another model"):
        ndi_report(net, plan.model_copy(update={"groups": {"0": plan.groups["0"]}}), batches)
    with pytest.raises(DataError, match="failed on batch 0"):
        ndi_report(model, plan, [z[:, :5]], structure)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 9), st.integers(2, 30), st.integers(0, 10**6), st.data())
def test_the_repaired_lemma_bounds_every_correlation(units, samples, seed, data):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(samples, units, generator=generator, dtype=torch.float64)
    copies = data.draw(st.lists(st.integers(0, units - 1), min_size=units, max_size=units))
    share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    r = correlation((1 - share) * z + share * z[:, copies] + 1e-3 * z)
    bounds = correlation_bounds(r, data.draw(st.integers(1, units - 1)))
    assert (r.abs() <= bounds + 1e-9)[~torch.eye(units, dtype=torch.bool)].all()


def test_the_printed_lemma_is_false():
    """Two equal units outside a larger block: no mass in the leading eigenvector, and a correlation of 1."""
    r = torch.eye(6, dtype=torch.float64)
    r[:4, :4] = 0.9
    r[4:, 4:] = 1
    r.fill_diagonal_(1)
    mass = torch.linalg.eigh(r).eigenvectors[:, -1].square()
    assert (mass[4] * mass[5]).sqrt() < 1e-12 < r[4, 5]
    assert correlation_bounds(r, 1)[4, 5] >= r[4, 5]


def test_every_component_names_its_limits():
    for name in (*ndi.COMPONENTS, *ndi.LITERAL_COMPONENTS, "ndi", "ndi-literal", "diversity-topk", "max-correlation"):
        assert CRITERIA[name].limits
