"""Every criterion against its formula, written out in loops over a forward pass in plain sight, and their laws."""

import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import build
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import secateurs as sc
from secateurs.criteria.families import obs
from secateurs.criteria.families.magnitude import remaining_share
from secateurs.criteria.registry import CRITERIA
from secateurs.errors import (
    CriterionError,
    DataError,
    FewSamplesWarning,
    SecateursError,
    SecateursWarning,
    UnscoredWarning,
)
from secateurs.observe import HESSIAN_DIAGONAL
from secateurs.observe.gradients import curvature, synflow

AGGREGATES = {"mean": lambda values: sum(values) / len(values), "max": max, "sum": sum}


class Notes:
    """What a forward pass in plain sight writes down, and the gates that it multiplies units with."""

    def __init__(self, gates=None):
        self.gates = gates or {}
        self.seen = defaultdict(list)  # group -> activations [samples, units, ...] per place
        self.read = {}  # weight -> what it is multiplied with [samples, features, positions]
        self.arrivals = {}  # weight -> its outputs where they meet others, and what becomes of them, in the same form

    def see(self, group, x):
        self.seen[group].append(x)
        return x

    def use(self, group, weight, x, dim=1):
        self.read[weight] = flat(x, dim)
        if group in self.gates:
            gate = self.gates[group].repeat_interleave(x.shape[dim] // len(self.gates[group]))
            x = x * gate.reshape(-1, *[1] * (x.ndim - 1 - dim % x.ndim))
        return x

    def arrive(self, weight, part, others=0.0, dim=1):
        self.arrivals[weight] = flat(part, dim), flat(part + others, dim)
        return part + others


def flat(x, dim):
    """[samples, features, positions]."""
    return x.movedim(dim, 1).flatten(2) if x.ndim > 2 else x[:, :, None]


@dataclass
class Units:
    """Where the units of a group lie: rows of what makes them, columns of what uses them, by hand."""

    size: int
    made: tuple[str, ...]
    used: tuple[str, ...]
    vectors: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    rows: Callable = lambda unit: [unit]
    columns: Callable = lambda unit: [unit]

    def slices(self, tensors, made=True, used=True, vectors=False):
        """Per weight a list of each unit's entries, flat; with those of the vectors that follow it."""
        names = {name: [name] for name in (self.made if made else ())}
        for vector in self.vectors if vectors else ():
            names[follows(vector, self.made)].append(vector)
        rows = [
            [torch.cat([tensors[name][self.rows(u)].flatten() for name in its]) for u in range(self.size)]
            for its in names.values()
        ]
        columns = [[tensors[name][:, self.columns(u)].flatten() for u in range(self.size)] for name in self.used]
        return rows + (columns if used else [])


def follows(vector, weights):
    """The weight that a bias or a norm's parameter belongs to."""
    module = vector.rpartition(".")[0]
    names = (vector.replace("bias", "weight"), module.replace("bn", "conv") + ".weight")
    return next(name for name in names if name in weights)


def mlp(p, x, notes):
    x = notes.see("0", F.linear(x, p["0.weight"], p["0.bias"]).relu())
    x = F.linear(notes.use("0", "2.weight", x), p["2.weight"], p["2.bias"])
    x = notes.see("2", x.tanh())
    return F.linear(notes.use("2", "4.weight", x), p["4.weight"], p["4.bias"])


def norm(p, name, x):
    mean, variance, scale, shift = (p[f"{name}.{its}"] for its in ("running_mean", "running_var", "weight", "bias"))
    mean, variance, scale, shift = (its[:, None, None] for its in (mean, variance, scale, shift))
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def residual(p, x, notes):
    stream = notes.see("0", F.conv2d(x, p["0.weight"], p["0.bias"]))
    y = F.conv2d(notes.use("0", "1.conv1.weight", stream), p["1.conv1.weight"], padding=1)
    y = notes.see("1.conv1", notes.arrive("1.conv1.weight", norm(p, "1.bn1", y)).relu())
    y = F.conv2d(notes.use("1.conv1", "1.conv2.weight", y), p["1.conv2.weight"], padding=1)
    stream = notes.see("0", notes.arrive("1.conv2.weight", norm(p, "1.bn2", y), stream).relu())
    y = F.conv2d(notes.use("0", "2.conv1.weight", stream), p["2.conv1.weight"], padding=1, stride=2)
    y = notes.see("2.conv1", notes.arrive("2.conv1.weight", norm(p, "2.bn1", y)).relu())
    y = F.conv2d(notes.use("2.conv1", "2.conv2.weight", y), p["2.conv2.weight"], padding=1)
    short = F.conv2d(notes.use("0", "2.down.weight", stream), p["2.down.weight"], p["2.down.bias"], stride=2)
    y = notes.see("2.conv2", notes.arrive("2.down.weight", short, norm(p, "2.bn2", y)).relu()).mean((2, 3))
    return F.linear(notes.use("2.conv2", "5.weight", y), p["5.weight"], p["5.bias"])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 10, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


def build_transformer():
    torch.manual_seed(0)
    model = Transformer().double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model, (torch.randn(2, 3, 8).double(),)


def transformer(p, x, notes):
    qkv = F.linear(x, p["block.self_attn.in_proj_weight"], p["block.self_attn.in_proj_bias"])
    q, k, v = (its.unflatten(-1, (2, 4)).transpose(1, 2) for its in qkv.split(8, -1))  # [samples, heads, tokens, 4]
    mixed = notes.see("block.self_attn:1", (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v)
    mixed = notes.use("block.self_attn:1", "block.self_attn.out_proj.weight", mixed.transpose(1, 2).flatten(2), dim=-1)
    y = F.linear(mixed, p["block.self_attn.out_proj.weight"], p["block.self_attn.out_proj.bias"])
    x = notes.arrive("block.self_attn.out_proj.weight", y, x, dim=-1)
    x = F.layer_norm(x, (8,), p["block.norm1.weight"], p["block.norm1.bias"])
    h = F.linear(x, p["block.linear1.weight"], p["block.linear1.bias"]).relu()
    notes.see("block.linear1", h.transpose(1, 2))
    h = notes.use("block.linear1", "block.linear2.weight", h, dim=-1)
    y = F.linear(h, p["block.linear2.weight"], p["block.linear2.bias"])
    x = notes.arrive("block.linear2.weight", y, x, dim=-1)
    x = F.layer_norm(x, (8,), p["block.norm2.weight"], p["block.norm2.bias"])
    return F.linear(x.mean(1), p["head.weight"], p["head.bias"])


@dataclass
class Case:
    """A model, its forward pass in plain sight, and everything that references need of it."""

    build: Callable
    forward: Callable
    groups: dict[str, Units]
    model: nn.Module = field(init=False)

    def __post_init__(self):
        self.model, (x,) = self.build()
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(9, *x.shape[1:], generator=generator, dtype=x.dtype)
        self.y = torch.randint(5, (9,), generator=generator)
        self.data = list(zip(self.x.split([4, 2, 3]), self.y.split([4, 2, 3]), strict=True))
        self.structure = sc.trace(self.model, x)

    @cached_property
    def tensors(self):
        return {name: tensor.detach() for name, tensor in self.model.state_dict().items()}

    def run(self, tensors=None, x=None, gates=None):
        notes = Notes(gates)
        return self.forward(tensors or self.tensors, self.x if x is None else x, notes), notes

    @cached_property
    def notes(self):
        return self.run()[1]

    def differentiate(self, x, y):
        """Gradient of the mean loss, and its product with the Hessian."""
        leaves = {name: self.tensors[name].clone().requires_grad_() for name, _ in self.model.named_parameters()}
        loss = F.cross_entropy(self.run({**self.tensors, **leaves}, x)[0], y)
        first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        along = sum((g * g.detach()).sum() for g in first)
        second = torch.autograd.grad(along, list(leaves.values()), materialize_grads=True)
        return tuple(dict(zip(leaves, [its.detach() for its in found], strict=True)) for found in (first, second))

    @cached_property
    def gradients(self):
        return self.differentiate(self.x, self.y)

    @cached_property
    def fisher(self):
        singles = [self.differentiate(self.x[n : n + 1], self.y[n : n + 1])[0] for n in range(len(self.x))]
        return {name: sum(its[name] ** 2 for its in singles) / len(singles) for name in singles[0]}

    @cached_property
    def gates(self):
        """Mean squared slope of a sample's loss with regard to a factor on each unit."""
        total = {name: torch.zeros(units.size, dtype=torch.float64) for name, units in self.groups.items()}
        for n in range(len(self.x)):
            ones = {name: torch.ones_like(its, requires_grad=True) for name, its in total.items()}
            loss = F.cross_entropy(self.run(None, self.x[n : n + 1], ones)[0], self.y[n : n + 1])
            for name, slope in zip(total, torch.autograd.grad(loss, list(ones.values())), strict=True):
                total[name] += slope**2 / len(self.x)
        return total

    @cached_property
    def order(self):
        """SynFlow's Algorithm 1 on units: Eq. 2 summed over the weights that use a unit, in 100 rounds."""
        gone = {name: {} for name in self.groups}
        units = sum(its.size for its in self.groups.values())
        for number in range(1, 101):
            leaves = {name: tensor.abs() for name, tensor in self.tensors.items()}
            for name, its in self.groups.items():
                for unit in gone[name]:
                    for tensor in (*its.made, *its.vectors):
                        leaves[tensor][its.rows(unit)] = 0
                    for tensor in its.used:
                        leaves[tensor][:, its.columns(unit)] = 0
            names = [name for name, _ in self.model.named_parameters()]
            for name in names:
                leaves[name].requires_grad_()
            found = torch.autograd.grad(
                self.run(leaves, torch.ones_like(self.x[:1]))[0].sum(), [leaves[n] for n in names]
            )
            flow = {name: leaves[name].detach() * g for name, g in zip(names, found, strict=True)}
            left = max(int(units * 0.01 ** (number / 100)), len(self.groups)) if number < 100 else 0
            candidates = []
            for name, its in self.groups.items():
                through = [
                    sum(float(layer[u].sum()) for layer in its.slices(flow, made=False)) for u in range(its.size)
                ]
                for unit, value in enumerate(through):
                    if unit not in gone[name] and (value < max(through) or not left):
                        candidates.append((value, name, unit))
            candidates.sort(key=lambda its: its[0])
            going = candidates[: units - sum(map(len, gone.values())) - left]
            for rank, (_, name, unit) in enumerate(going):
                gone[name][unit] = number + rank / len(going)
        return gone


def heads(unit):
    return [8 * part + 4 * unit + i for part in range(3) for i in range(4)]


def of_norm(*names):
    return tuple(f"{name}.{its}" for name in names for its in ("weight", "bias"))


@cache
def case(name):
    match name:
        case "mlp":
            groups = {
                "0": Units(9, ("0.weight",), ("2.weight",), ("0.bias",)),
                "2": Units(7, ("2.weight",), ("4.weight",), ("2.bias",)),
            }
            return Case(lambda: build("mlp"), mlp, groups)
        case "residual":
            groups = {
                "0": Units(8, ("0.weight", "1.conv2.weight"), ("1.conv1.weight", "2.conv1.weight", "2.down.weight"),
                           ("0.bias", *of_norm("1.bn2")), ("1.bn2.weight",)),
                "1.conv1": Units(8, ("1.conv1.weight",), ("1.conv2.weight",), of_norm("1.bn1"), ("1.bn1.weight",)),
                "2.conv1": Units(12, ("2.conv1.weight",), ("2.conv2.weight",), of_norm("2.bn1"), ("2.bn1.weight",)),
                "2.conv2": Units(12, ("2.conv2.weight", "2.down.weight"), ("5.weight",),
                                 ("2.down.bias", *of_norm("2.bn2")), ("2.bn2.weight",)),
            }  # fmt: skip
            return Case(lambda: build("residual"), residual, groups)
    groups = {
        "block.self_attn:1": Units(
            2, ("block.self_attn.in_proj_weight",), ("block.self_attn.out_proj.weight",),
            ("block.self_attn.in_proj_bias",), rows=heads, columns=lambda unit: [4 * unit + i for i in range(4)],
        ),
        "block.linear1": Units(10, ("block.linear1.weight",), ("block.linear2.weight",), ("block.linear1.bias",)),
    }  # fmt: skip
    return Case(build_transformer, transformer, groups)


CASES = ("mlp", "residual", "transformer")


@pytest.mark.parametrize("name", CASES)
def test_the_forward_pass_in_plain_sight_is_the_model(name):
    its = case(name)
    torch.testing.assert_close(its.run()[0], its.model(its.x).detach())
    assert {group: units.size for group, units in its.groups.items()} == {
        group.name: group.size for group in its.structure.groups.values()
    }


# The formulas: each gives [layer][unit]


def per_unit(layers, score):
    return [[float(score(its)) for its in layer] for layer in layers]


def per_place(its, group, score):
    return [[float(score(place[:, u])) for u in range(place.shape[1])] for place in its.notes.seen[group]]


def l1(its, group, units):
    return per_unit(units.slices(its.tensors), lambda w: sum(map(abs, w.tolist())))


def l2(its, group, units):
    return per_unit(units.slices(its.tensors), lambda w: sum(v * v for v in w.tolist()))


def bn_scale(its, group, units):
    return [[abs(float(its.tensors[name][u])) for u in range(units.size)] for name in units.scales]


def fpgm(its, group, units):
    layers = units.slices(its.tensors, used=False)
    return [[sum(float((a - b).norm()) for b in layer) for a in layer] for layer in layers]


def lamp(its, group, units):
    return [[s / sum(t for t in layer if t >= s) for s in layer] for layer in l2(its, group, units)]


def apoz(its, group, units):
    return per_place(its, group, lambda a: 1 - (a <= 0).double().mean())


def mean_activation(its, group, units):
    return per_place(its, group, lambda a: sum(map(abs, a.flatten().tolist())) / a.numel())


def hrank(its, group, units):
    if its.notes.seen[group][0].ndim < 4:
        return []
    return per_place(its, group, lambda a: sum(np.linalg.matrix_rank(sample.numpy()) for sample in a) / len(a))


def chip(its, group, units):
    if its.notes.seen[group][0].ndim < 3:
        return []
    layers = []
    for place in its.notes.seen[group]:
        layers.append([0.0] * units.size)
        for sample in place.flatten(2).numpy():
            for unit in range(units.size):
                masked = sample.copy()
                masked[unit] = 0
                layers[-1][unit] += (np.linalg.norm(sample, "nuc") - np.linalg.norm(masked, "nuc")) / len(place)
    return layers


def of_entries(score):
    def reference(its, group, units):
        scored = {name: score(its, name, w) for name, w in its.tensors.items() if name in its.gradients[0]}
        return per_unit(units.slices(scored, vectors=True), lambda entries: sum(entries.tolist()))

    return reference


def wanda(its, group, units):
    layers = []
    for name in units.used:
        sizes = its.notes.read[name].square().mean((0, 2)).sqrt()
        weight = its.tensors[name].abs()
        layers.append([sum(float(weight[:, j].sum() * sizes[j]) for j in units.columns(u)) for u in range(units.size)])
    return layers


def flap(its, group, units):
    layers = []
    for name in units.used:
        variance = its.notes.read[name].movedim(1, 0).flatten(1).var(1, correction=0)
        weight = its.tensors[name].square()
        layers.append(
            [sum(float(weight[:, j].sum() * variance[j]) for j in units.columns(u)) for u in range(units.size)]
        )
    return layers


def nexp_median(its, group, units):
    def score(a):
        values = a.reshape(len(a), -1)  # [samples, positions]
        ordered = sorted(values.flatten().tolist())
        binary = (values > ordered[(len(ordered) - 1) // 2]).double()
        pairs = [(a - b).abs().mean() for i, a in enumerate(binary) for b in binary[:i]]
        return sum(pairs) / len(pairs)

    return per_place(its, group, score)


def over_mean(values):
    return [v / (sum(values) / len(values)) for v in values]


def standard(values):
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return [(v - mean) / deviation for v in values]


REFERENCES = {
    "l1": (l1, over_mean),
    "l2": (l2, lambda values: over_mean([v**0.5 for v in values])),
    "bn-scale": (bn_scale, list),
    "fpgm": (fpgm, list),
    "lamp": (lamp, list),
    "apoz": (apoz, list),
    "mean-activation": (mean_activation, list),
    "hrank": (hrank, list),
    "chip": (chip, list),
    "taylor": (of_entries(lambda its, name, w: (w * its.gradients[0][name]) ** 2), list),
    "taylor-gate": (lambda its, group, units: [its.gates[group].tolist()], list),
    "fisher": (of_entries(lambda its, name, w: w**2 * its.fisher[name]), list),
    "snip": (of_entries(lambda its, name, w: (w * its.gradients[0][name]).abs()), list),
    "grasp": (of_entries(lambda its, name, w: w * its.gradients[1][name]), list),
    "synflow": (lambda its, group, units: [[its.order[group][u] for u in range(units.size)]], list),
    "wanda": (wanda, list),
    "flap": (flap, standard),
    "nexp-median": (nexp_median, list),
}
"""How each layer or place scores each unit, and what is made of the scores once these are one."""


ONE = ("taylor-gate", "synflow")
"""Criteria that score a unit once for all of its layers."""


@pytest.mark.parametrize(
    ("criterion", "aggregate"), [(c, a) for c in REFERENCES for a in AGGREGATES if a == "mean" or c not in ONE]
)
@pytest.mark.parametrize("name", CASES)
def test_a_criterion_is_its_formula(name, criterion, aggregate):
    its = case(name)
    formula, finish = REFERENCES[criterion]
    expected = {}
    for group, units in its.groups.items():
        if layers := formula(its, group, units):
            values = [AGGREGATES[aggregate](scores) for scores in zip(*layers, strict=True)]
            expected[group] = torch.tensor(finish(values), dtype=torch.float64)
    loss = F.cross_entropy if CRITERIA[criterion].needs_loss else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnscoredWarning)
        if not expected:
            with pytest.raises(CriterionError, match="can score no group"):
                sc.score(its.model, its.data, criterion, its.structure, loss)
            return
        scores = sc.score(its.model, its.data, criterion, its.structure, loss, aggregate=aggregate)
    torch.testing.assert_close(scores, expected, rtol=1e-7, atol=1e-7)


def test_lamp_shares_the_rank_of_equal_weights_and_gives_nothing_to_zeros():
    assert remaining_share(torch.tensor([1.0, 2, 0, 2, 4])).tolist() == pytest.approx([1 / 9, 2 / 8, 0, 2 / 8, 1])
    assert not remaining_share(torch.zeros(3)).any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_what_remains_is_all_that_is_not_smaller(values):
    expected = [v / sum(w for w in values if w >= v) if v else 0 for v in values]
    assert remaining_share(torch.tensor(values, dtype=torch.float64)).tolist() == pytest.approx(expected)


def test_distances_of_filters_keep_signs():
    """Taken on magnitudes, as some public code does, all filters would be one."""
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2], [-1, -2], [1, 2]]))
    distance = 2 * 5**0.5
    scores = sc.score(model, None, "fpgm", sc.trace(model, torch.randn(1, 2).double()))["0"]
    assert scores.tolist() == pytest.approx([distance, 2 * distance, distance])


def test_scaling_a_unit_against_those_who_use_it_leaves_fisher_alone():
    model, _ = build("mlp")
    its = case("mlp")
    before = sc.score(model, its.data, "fisher", its.structure)
    with torch.no_grad():
        for p in (model[0].weight, model[0].bias):
            p[3] *= 7
        model[2].weight[:, 3] /= 7
    torch.testing.assert_close(sc.score(model, its.data, "fisher", its.structure), before)


# OBS


@dataclass
class Use:
    """A weight that uses units: per block of a grouped convolution, what it is multiplied with, and its matrix."""

    blocks: list[tuple[np.ndarray, np.ndarray]]  # rows × features, features × outputs
    columns: Callable  # unit -> [(block, feature)]

    def error(self, units):
        """What the layer still puts out wrongly when these units go and the others do their best."""
        gone = {where for unit in units for where in self.columns(unit)}
        error = 0.0
        for number, (x, w) in enumerate(self.blocks):
            stay = [j for j in range(x.shape[1]) if (number, j) not in gone]
            best = np.linalg.lstsq(x[:, stay], x @ w, rcond=None)[0] if stay else np.zeros((0, w.shape[1]))
            error += ((x @ w - x[:, stay] @ best) ** 2).sum()
        return error


@pytest.fixture
def plain(monkeypatch):
    """OBS as it is with any number of samples: no ridge to speak of."""
    monkeypatch.setattr(obs, "RIDGE", 1e-14)
    monkeypatch.setattr(obs, "shrinkage", lambda features, rows: 0.0)


def greedy(uses, size, step=1, aggregate="sum"):
    """Scores by brute force: one least squares problem per unit, layer and step."""
    scores, gone, worst = [0.0] * size, [], 0.0
    while len(gone) < size:
        left = [unit for unit in range(size) if unit not in gone]
        rises = {
            unit: AGGREGATES[aggregate]([use.error([*gone, unit]) - use.error(gone) for use in uses]) for unit in left
        }
        going = sorted(left, key=rises.__getitem__)[:step]
        for unit in going:
            worst = max(worst, rises[unit])
            scores[unit] = worst
        gone += going
    return torch.tensor(scores, dtype=torch.float64)


GEOMETRY = {f"{name}.weight": (1, 1) for name in ("1.conv1", "1.conv2", "2.conv2")}
GEOMETRY |= {"2.conv1.weight": (1, 2), "2.down.weight": (0, 2)}
"""Padding and stride of the residual network's convolutions."""


def uses_of(its, group):
    found = []
    for name in its.groups[group].used:
        x, taps = its.notes.read[name], 1
        if its.tensors[name].ndim == 4:
            padding, stride = GEOMETRY[name]
            taps = its.tensors[name][0, 0].numel()
            maps = x.unflatten(2, (math.isqrt(x.shape[2]), -1))
            x = F.unfold(maps, math.isqrt(taps), padding=padding, stride=stride)
        x = x.movedim(1, 2).flatten(0, 1).numpy()
        if name.replace("weight", "bias") in its.tensors:  # which takes up the mean
            x = x - x.mean(0)
        w = its.tensors[name].flatten(1).T.numpy()
        whole = np.linalg.norm(x @ w)
        if name in its.notes.arrivals:
            part, total = (seen.movedim(1, 2).flatten(0, 1).numpy() for seen in its.notes.arrivals[name])
            w = w * part.std(0) / np.sqrt(((x @ w) ** 2).mean(0))
            whole = np.sqrt(len(x) * total.var(0).sum())
        w = w / whole
        stream = len(its.groups[group].used) > 1 and len(its.groups[group].made) > 1
        if stream:
            w = np.hstack([w, np.eye(len(w)) / np.linalg.norm(x)])
        columns = its.groups[group].columns

        def of(unit, n=taps, its=columns):
            return [(0, n * j + tap) for j in its(unit) for tap in range(n)]

        found.append(Use([(x, w)], of))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::secateurs.errors.FewSamplesWarning")  # for another group
@pytest.mark.parametrize(
    ("name", "group", "aggregate"),
    [
        ("residual", "0", "mean"),
        ("residual", "0", "max"),
        ("residual", "0", "sum"),
        ("residual", "1.conv1", "mean"),
        ("transformer", "block.self_attn:1", "mean"),
        ("transformer", "block.linear1", "mean"),
    ],
)
def test_obs_removes_what_least_squares_misses_least(name, group, aggregate, plain):
    its = case(name)
    found = sc.score(its.model, its.data, "obs", its.structure, aggregate=aggregate)[group]
    torch.testing.assert_close(
        found, greedy(uses_of(its, group), len(found), aggregate=aggregate), rtol=1e-6, atol=1e-9
    )


@pytest.mark.filterwarnings("ignore::secateurs.errors.FewSamplesWarning")  # for another group
def test_obs_lets_wide_groups_lose_several_units_at_a_time(plain, monkeypatch):
    monkeypatch.setattr(obs, "STEPS", 3)
    its = case("residual")
    found = sc.score(its.model, its.data, "obs", its.structure)["1.conv1"]
    expected = greedy(uses_of(its, "1.conv1"), 8, step=3)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore::secateurs.errors.FewSamplesWarning")  # for other groups
@pytest.mark.parametrize("outputs", [4, 32])
def test_obs_lets_only_peers_of_the_same_block_take_over(outputs, plain):
    """Blocks of a grouped convolution put out different things; with few outputs per block and with many."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, outputs, 3, groups=2), nn.ReLU(),
                          nn.Conv2d(outputs, 2, 1)).double()  # fmt: skip
    x = torch.randn(20, 3, 5, 5).double()
    s = sc.trace(model, x[:2])
    with torch.no_grad():
        hidden = F.unfold(model[:2](x), 3).movedim(1, 2).flatten(0, 1).numpy()
        hidden = hidden - hidden.mean(0)
        weight = model[2].weight.flatten(1).numpy()  # [2 blocks × outputs, 4 inputs × 9 taps]
    blocks = [(hidden[:, 36 * b : 36 * b + 36], part.T) for b, part in enumerate(np.split(weight, 2))]
    whole = np.sqrt(sum(((x @ w) ** 2).sum() for x, w in blocks))
    blocks = [(x, w / whole) for x, w in blocks]
    use = Use(blocks, lambda unit: [(block, 9 * unit + tap) for block in (0, 1) for tap in range(9)])
    found = sc.score(model, [x], "obs", s)["0:1"]
    torch.testing.assert_close(found, greedy([use], 4), rtol=1e-6, atol=1e-9)


def test_obs_gives_up_one_of_two_twins_for_nothing_and_holds_on_to_the_other(plain):
    model, _ = build("mlp")
    x = torch.randn(60, 6).double()
    with torch.no_grad():
        model[0].weight[6], model[0].bias[6] = 3 * model[0].weight[2], 3 * model[0].bias[2]
    scores = sc.score(model, [x], "obs")["0"]
    assert min(scores[2], scores[6]) < 1e-5
    assert max(scores[2], scores[6]) > scores.median()


def test_obs_lets_a_unit_that_only_made_up_for_another_go_with_it(plain):
    """The first costs something; the second then nothing, but a score says what was lost by then."""
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5)).double()
    x = torch.randn(60, 6).double()
    with torch.no_grad():
        model[0].weight[1] = model[0].weight[0] + 0.1 * torch.randn(6)
        model[0].bias[1] = model[0].bias[0]
        model[2].weight[:, 1] = -model[2].weight[:, 0]
        hidden = model[:2](x).numpy()
        hidden = hidden - hidden.mean(0)
        weight = model[2].weight.T.numpy()
        use = Use([(hidden, weight / np.linalg.norm(hidden @ weight))], lambda unit: [(0, unit)])
    scores = sc.score(model, [x], "obs")["0"]
    assert scores[0] == scores[1] == scores.min()
    torch.testing.assert_close(scores, greedy([use], 4), rtol=1e-6, atol=1e-9)


def test_obs_does_not_care_whether_batch_norm_is_part_of_the_layer():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
                          nn.Flatten(), nn.Linear(150, 4)).double().eval()  # fmt: skip
    norm = model[3]
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.2, 3)
    x = torch.randn(40, 3, 9, 9).double()
    folded = nn.Sequential(model[0], model[1], fuse_conv_bn_eval(model[2], norm), nn.Identity(), *model[4:])
    torch.testing.assert_close(sc.score(model, [x], "obs")["0"], sc.score(folded, [x], "obs")["0"])


def test_few_samples_do_not_make_obs_take_strangers_for_copies():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 4)).double()
    s = sc.trace(model, torch.randn(2, 40).double())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewSamplesWarning)
        few, many = (sc.score(model, [torch.randn(n, 40).double()], "obs", s)["0"] for n in (20, 4000))
    assert few.median() > 0.3 * many.median()


def test_obs_warns_of_fewer_samples_than_features_and_only_then():
    model, (x,) = build("mlp")  # 9 and 7 units
    s = sc.trace(model, x)
    with pytest.warns(FewSamplesWarning) as caught:
        sc.score(model, [torch.randn(9, 6).double()], "obs", s)
    assert [str(w.message).split(" features")[0] for w in caught] == [
        "group '0': 9 samples × positions are too few for 9",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.score(model, [torch.randn(10, 6).double()], "obs", s)


# Laws

PROBED = tuple(n for n, its in CRITERIA.items() if any(HESSIAN_DIAGONAL in leaf.gradients for leaf in its.leaves))
"""Criteria that estimate the Hessian from random vectors, and from the first batch alone."""
MEANS = (
    "apoz", "mean-activation", "hrank", "chip", "taylor", "taylor-gate", "fisher", "snip", "grasp", "wanda", "flap",
)  # fmt: skip
"""Criteria that are means over samples; the others compare or count samples, or look at none."""
NOT_OF_DEATH = {
    "random": "sees nothing",
    "l1": "sees the weights that would use the unit",
    "l2": "sees the weights that would use the unit",
    "lamp": "sees the weights that would use the unit",
    "fpgm": "zero weights may be far from the others",
    "grasp": "signed: others may be negative",
    "diversity-literal": "as printed: dead units first",
    "diversity-topk": "as printed: dead units first",
    "sensitivity-literal": "as printed: the Hessian's diagonal may be negative",
    "ndi-index-literal": "made of these",
}
"""Criteria that need not put a dead unit last, and why."""


@pytest.fixture
def exact(net, batches, monkeypatch):
    """The network in float64, with statistics of its own, in front of 32 samples and 16 units at most."""
    monkeypatch.setattr(synflow, "ROUNDS", 10)
    monkeypatch.setattr(curvature, "PROBES", 5)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    for tensor in (net[1].weight, net[1].running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    nn.init.normal_(net[1].running_mean, std=0.5)
    net.double()
    x = torch.cat([x for x, _ in batches] + [torch.randn(8, 3, 6, 6)]).double()
    y = torch.cat([y for _, y in batches] + [torch.randint(4, (8,))])
    return SimpleNamespace(model=net, x=x, y=y, structure=sc.trace(net, x[:2]))


def assert_alike(found, expected, tolerance):
    """To within a share of the group's largest score."""
    assert set(found) == set(expected)
    for name, its in expected.items():
        assert (found[name] - its).abs().max() <= tolerance * its.abs().max(), name


def scored(exact, criterion, sizes=(32,), x=None, y=None):
    x, y = exact.x if x is None else x, exact.y if y is None else y
    data = list(zip(x.split(sizes), y.split(sizes), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecateursWarning)
        return sc.score(exact.model, data, criterion, exact.structure)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random", "ssi-literal", *PROBED}))
def test_units_that_change_places_take_their_scores_with_them(exact, criterion):
    """Not those of ssi-literal in small groups: its graphs are complete there, and their eigenvectors arbitrary."""
    model = exact.model
    before = scored(exact, criterion)
    orders = {name: torch.randperm(group.size) for name, group in exact.structure.groups.items()}
    with torch.no_grad():
        for tensor in (*model[0].parameters(), *model[1].parameters(), *model[1].buffers()):
            if tensor.ndim:
                tensor.copy_(tensor[orders["0"]])
        for maker, user, name in ((3, 7, "3"), (7, 9, "7")):
            for tensor in model[maker].parameters():
                tensor.copy_(tensor[orders[name]])
            model[user].weight.copy_(model[user].weight[:, orders[name]])
        model[3].weight.copy_(model[3].weight[:, orders["0"]])
    after = scored(exact, criterion)
    assert_alike(after, {name: its[orders[name]] for name, its in before.items()}, 1e-6)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - set(PROBED)))
def test_other_batches_of_the_same_samples_give_the_same_scores(exact, criterion):
    assert_alike(scored(exact, criterion, (5, 20, 1, 6)), scored(exact, criterion), 1e-9)


@pytest.mark.parametrize("criterion", MEANS)
def test_seeing_every_sample_twice_changes_no_mean(exact, criterion):
    twice = scored(exact, criterion, (64,), torch.cat([exact.x, exact.x]), torch.cat([exact.y, exact.y]))
    assert_alike(twice, scored(exact, criterion), 1e-9)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - set(NOT_OF_DEATH)))
def test_no_live_unit_ranks_below_a_dead_one(exact, criterion):
    model = exact.model
    dead = {"0": 4, "3": 2, "7": 9}
    with torch.no_grad():
        for layer, unit in ((0, 4), (1, 4), (3, 2), (7, 9)):
            model[layer].weight[unit], model[layer].bias[unit] = 0, 0
    for name, its in scored(exact, criterion).items():
        live = torch.arange(len(its)) != dead[name]
        assert its[dead[name]] <= its[live].min() + 1e-7 * its.abs().max()
        assert its[live].max() > its[dead[name]]


class Counted:
    """Data that counts how often it is read."""

    def __init__(self, batches):
        self.batches, self.reads = batches, 0

    def __iter__(self):
        self.reads += 1
        return iter(self.batches)


ACTIVATIONS = ("nexp", "apoz", "mean-activation", "wanda", "obs")


@pytest.mark.parametrize(
    ("more", "reads"),
    [
        ((), 1),
        (("taylor",), 2),
        (("taylor", "taylor-gate", "fisher", "snip"), 2),
        (("grasp", "fisher"), 3),
        (("l2", "synflow", "bn-scale"), 1),
    ],
)
def test_criteria_share_passes_over_the_data_and_score_as_if_alone(exact, more, reads):
    data = Counted(list(zip(exact.x.split(10), exact.y.split(10), strict=True)))
    names = (*ACTIVATIONS, *more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnscoredWarning)
        found = sc.score_many(exact.model, data, names, exact.structure)
    assert data.reads == reads
    assert tuple(found) == names
    for name, scores in found.items():
        torch.testing.assert_close(scores, scored(exact, name, (10, 10, 10, 2)), rtol=1e-9, atol=1e-12)


# Bad input


@pytest.mark.parametrize("criterion", sorted(n for n, its in CRITERIA.items() if its.needs_loss))
def test_criteria_of_the_loss_need_labels(exact, criterion):
    with pytest.raises(DataError, match="batch 0 has no targets"):
        sc.score(exact.model, [exact.x], criterion, exact.structure)


@pytest.mark.parametrize("criterion", sorted(n for n, its in CRITERIA.items() if its.needs_data))
def test_a_single_sample_is_enough_or_said_to_be_too_little(exact, criterion):
    refusal = None
    try:
        scores = scored(exact, criterion, (1,), exact.x[:1], exact.y[:1])
        assert all(len(its) == exact.structure.groups[name].size for name, its in scores.items())
    except CriterionError as error:
        refusal = str(error)
    assert refusal is None or ("at least 2" in refusal and criterion not in MEANS)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"random", "bn-scale"}))
def test_weights_that_are_not_numbers_are_found_by_all_that_look_at_them(exact, criterion):
    with torch.no_grad():
        exact.model[3].weight[4, 0] = float("nan")
    with pytest.raises(SecateursError, match="not finite"):
        scored(exact, criterion)


@pytest.mark.parametrize("criterion", sorted(n for n, its in CRITERIA.items() if its.needs_data))
def test_infinite_inputs_are_refused(exact, criterion):
    exact.x[3, 1, 2, 2] = float("inf")
    with pytest.raises(DataError, match="not finite"):
        scored(exact, criterion)


@pytest.mark.parametrize(
    ("criterion", "groups", "reason"),
    [
        ("bn-scale", ("3", "7"), "no normalisation scales the units"),
        ("hrank", ("7",), "the units do not have maps with rows and columns"),
        ("chip", ("7",), "the units do not have several positions"),
    ],
)
def test_groups_that_cannot_be_scored_are_named_with_the_reason(exact, criterion, groups, reason):
    with pytest.warns(UnscoredWarning) as caught:
        scores = sc.score(exact.model, [(exact.x, exact.y)], criterion, exact.structure)
    assert set(scores) == set(exact.structure.groups) - set(groups)
    assert "; ".join(f"{name!r} ({reason})" for name in groups) in str(caught[0].message)


@pytest.mark.parametrize(("criterion", "reason"), [("bn-scale", "no normalisation"), ("hrank", "rows and columns")])
def test_a_criterion_that_can_score_nothing_is_an_error_with_the_reason(criterion, reason):
    its = case("mlp")
    with pytest.raises(CriterionError, match=rf"can score no group of this model: '0' \(.*{reason}"):
        sc.score(its.model, its.data, criterion, its.structure)


def test_units_of_a_recurrence_are_not_multiplied_where_it_can_be_seen():
    model, (x,) = build("lstm")
    with pytest.warns(UnscoredWarning, match=r"'rnn' \(no linear layer or convolution uses the units where"):
        assert set(sc.score(model, [x], "wanda", sc.trace(model, x))) == {"enter"}


@pytest.mark.parametrize("criterion", [*REFERENCES, "obs"])
def test_a_model_with_nothing_to_remove_has_no_scores(criterion):
    model, data = nn.Linear(3, 2), [(torch.randn(4, 3), torch.randint(2, (4,)))]
    assert sc.score(model, data, criterion) == {}


@pytest.mark.parametrize("criteria", [["nexp", "taylor"], ["grasp"]])
def test_an_iterator_is_refused_where_the_data_is_read_twice(exact, criteria):
    with pytest.raises(DataError, match="reads the data 2 times"):
        sc.score_many(exact.model, iter([(exact.x, exact.y)]), criteria, exact.structure)


def test_an_iterator_will_do_for_all_gradients_of_one_pass(exact):
    names = ["taylor", "taylor-gate", "fisher", "snip"]
    found = sc.score_many(exact.model, iter([(exact.x, exact.y)]), names, exact.structure)
    torch.testing.assert_close(found["snip"], scored(exact, "snip"))


def test_a_loss_is_taken_where_one_of_several_criteria_needs_it_and_refused_where_none_does(exact):
    data = [(exact.x, exact.y)]
    found = sc.score_many(exact.model, data, ["l1", "taylor"], exact.structure, lambda o, t: 2 * F.cross_entropy(o, t))
    torch.testing.assert_close(found["taylor"]["3"], 4 * scored(exact, "taylor")["3"])
    with pytest.raises(CriterionError, match="'synflow', 'wanda' needs no loss; leave `loss` out"):
        sc.score_many(exact.model, data, ["synflow", "wanda"], exact.structure, F.cross_entropy)


def test_unknown_aggregates_are_refused(exact):
    with pytest.raises(CriterionError, match="unknown aggregate 'median'; choose one of mean, max, sum"):
        sc.score(exact.model, None, "l1", exact.structure, aggregate="median")
