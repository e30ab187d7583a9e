"""What tracing finds, freezes, names and leaves alone."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from support.models import FAMILIES, Apply, build
from torch import nn

import secateurs as sc
from secateurs.errors import ModelError, NoMatchError, TraceError


def test_groups_of_a_residual_network():
    model, inputs = build("residual")
    s = sc.trace(model, inputs)
    assert {name: group.size for name, group in s.groups.items()} == {
        "0": 8,
        "1.conv1": 8,
        "2.conv1": 12,
        "2.conv2": 12,
    }
    stream = [str(m) for m in s.groups["2.conv2"].members if m.tensor.endswith("weight")]
    assert stream == ["2.conv2.weight[0]", "2.bn2.weight[0]", "2.down.weight[0]", "5.weight[1]"]
    assert s.frozen == {"0.weight[1]": "model input", "5": "model output"}
    assert [m.consumed for m in s.groups["1.conv1"].members if m.tensor == "1.conv2.weight"] == [True]


@pytest.mark.parametrize("name", ["mlp", "mlp on tokens", "vgg", "bare parameters", "stack"])
def test_only_the_columns_of_a_weight_are_consumed(name):
    model, inputs = build(name)
    for group in sc.trace(model, inputs).groups.values():
        for member in group.members:
            columns = 0 if member.tensor == "w2" else 1  # used as x @ w2
            assert member.consumed == (member.dim == columns and member.tensor.rpartition(".")[2] in ("weight", "w2"))


def test_a_concatenation_cuts_each_consumer_where_its_parts_lie():
    model, inputs = build("dense")
    s = sc.trace(model, inputs)
    assert {name: group.size for name, group in s.groups.items()} == {
        "stem": 6,
        "convs.0": 4,
        "convs.1": 4,
        "convs.2": 4,
    }
    masks = s.keep_masks({"convs.0": (0, 3), "convs.2": (1,)})
    assert masks["head.weight"][1].tolist() == [True] * 6 + [True, False, False, True] + [True] * 4 + [
        False, True, False, False]  # fmt: skip


def test_padded_shortcut_ties_the_stages_where_they_overlap():
    model, inputs = build("padded shortcut")
    s = sc.trace(model, inputs)
    masks = s.keep_masks({"stem": (0, 1, 2, 3)})
    assert masks["conv.weight"][0].tolist() == [True] * 8 + [False] * 4 + [True] * 4
    assert "padding" in s.frozen.values()


@pytest.mark.parametrize("name", FAMILIES)
def test_names_and_groups_do_not_depend_on_what_is_kept(name):
    """A plan made with `keep` applies to a structure traced without."""
    model, inputs = build(name)
    first, *others = sc.trace(model, inputs).groups
    module = first.partition(":")[0]
    kept = sc.trace(model, inputs, keep=[module if module in dict(model.named_modules()) else "*"])
    assert first not in kept.groups
    assert kept.frozen[first].startswith("kept: ")
    assert set(kept.groups) <= set(others)


def test_keep_takes_names_patterns_and_parameters(net, images):
    def groups(*keep):
        return set(sc.trace(net, images, keep=keep).groups)

    assert groups() == {"0", "3", "7"}
    assert groups("7") == {"0", "3"}
    assert groups("[03]") == {"7"}
    assert groups("1.weight") == {"3", "7"}  # the batch norm behind the first convolution
    assert set(sc.trace(net, images, keep="3").groups) == {"0", "7"}
    nested = nn.Sequential(net, nn.ReLU())
    assert set(sc.trace(nested, images, keep=("0",)).groups) == set()


@pytest.mark.parametrize("pattern", ["head", "layer4.*", ""])
def test_a_pattern_that_matches_nothing_is_an_error(net, images, pattern):
    with pytest.raises(NoMatchError, match=r"matches no module.*its modules are: 0, 1"):
        sc.trace(net, images, keep=(pattern,))


def test_taps_are_before_and_after_the_non_linearity(net, images):
    s = sc.trace(net, images)
    ((before, after),) = s.groups["0"].activations
    assert s.groups["0"].after == (after,)
    assert (after.site.module, after.site.operator, after.slot, after.dim) == ("2", "aten::relu", -1, 1)
    assert (before.site, before.slot) == (after.site, 0)
    (pooled,) = s.groups["3"].after  # seen after its ReLU, not where the linear layer reads the pooled map
    assert (pooled.site.module, pooled.site.operator) == ("4", "aten::relu")


def test_functional_activations_need_no_module():
    model = Apply(lambda m, x: m.b(F.relu(m.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    (tap,) = sc.trace(model, torch.randn(2, 4)).groups["a"].after
    assert (tap.site.module, tap.site.operator, tap.slot) == ("", "aten::relu", -1)


def test_units_without_a_non_linearity_are_seen_where_they_are_used():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    group = sc.trace(model, torch.randn(2, 4)).groups["0"]
    assert [(tap.site.module, tap.site.operator, tap.slot) for tap in group.after] == [("1", "aten::addmm", 1)]
    assert group.activations == ()


BLOCK = {"inner": nn.Linear(6, 8), "outer": nn.Linear(8, 6), "scale": nn.LayerNorm(6), "head": nn.Linear(6, 3)}


def _gelu_in_full(m, x):
    y = m.inner(x)
    return m.head(m.outer(y * torch.tanh(y + 0.04 * y**3)))


@pytest.mark.parametrize(
    ("layer", "forward", "operator", "slots"),
    [
        ("outer", lambda m, x: m.head(x + m.outer(m.inner(x).relu())), "aten::add.Tensor", (1, -1)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x).relu()) * m.scale.weight + x), "aten::add.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head((m.outer(m.inner(x)) / 2).view(-1, 6).sub_(x)), "aten::sub_.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x)).roll(1, 0) + x), "aten::add.Tensor", (0, -1)),
        ("outer", lambda m, x: m.head(F.silu(m.outer(m.inner(x)))), "aten::silu", (0, 0)),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x))), None, ()),
        ("outer", lambda m, x: m.head(m.scale(m.outer(m.inner(x)))), None, ()),
        ("outer", lambda m, x: m.head(m.outer(m.inner(x)) * F.relu(x) + x), None, ()),
        ("inner", _gelu_in_full, None, ()),
    ],
    ids=["sum", "scaled", "in-place", "rolled", "activation", "layer", "norm", "gate", "gelu"],
)
def test_outputs_arrive_where_they_meet_other_data_or_a_non_linearity(layer, forward, operator, slots):
    s = sc.trace(Apply(forward, **BLOCK), torch.randn(2, 6))
    arrival = next(c.arrival for c in s.contractions if c.weight == f"{layer}.weight")
    assert bool(arrival) is bool(slots)
    for tap, slot in zip(arrival or (), slots, strict=True):
        assert (tap.site.operator, tap.slot, tap.dim, tap.size) == (operator, slot, 1, 6)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda m, x: m.b(m.a(x).softmax(-1)), "runs along it"),
        (lambda m, x: m.b(m.a(x) * m.a(x).amax(-1, keepdim=True)), "is taken over it"),
        (lambda m, x: m.b(m.a(x).flip(-1)), "reordered"),
        (lambda m, x: m.b(m.a(x)) * m.a(x)[:, :1], None),
        (lambda m, x: m.b(m.a(x)) + m.a(x)[:, 2:3], None),
        (lambda m, x: m.b(m.a(x)[:, ::2].repeat(1, 2)), "with a step"),
        (lambda m, x: m.b(m.a(x) + x[:, :1] * torch.arange(6.0)), "its size is set where"),
    ],
)
def test_what_freezes_and_what_does_not(run, reason):
    model, x = Apply(run, a=nn.Linear(4, 6), b=nn.Linear(6, 1)), torch.randn(2, 4)
    s = sc.trace(model, x)
    if reason:
        assert s.groups == {}
        assert reason in s.frozen["a"]
    else:  # what is left is exact or is caught
        assert s.groups
        sc.prune(model, [x], criterion="l1", budget="keep:0.6")


def test_integer_buffers_and_outputs_of_every_form_are_frozen():
    @dataclass
    class Answer:
        scores: torch.Tensor
        parts: dict

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)
            self.register_buffer("table", torch.arange(6))

        def forward(self, x):
            h = self.a(x).relu()
            return Answer(self.b(h), {"c": [self.c(h)], "n": 3, "none": None})

    s = sc.trace(Odd(), torch.randn(2, 4))
    assert (s.frozen["b"], s.frozen["c"]) == ("model output", "model output")
    assert list(s.groups) == ["a"]
    indexed = Apply(lambda m, x: m.b(m.a(x)[:, m.table]), a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    indexed.register_buffer("table", torch.arange(6).flip(0))
    assert "by index" in sc.trace(indexed, torch.randn(2, 4)).frozen["a"]


def test_an_output_that_cannot_be_looked_into_is_an_error():
    class Box:
        def __init__(self, x):
            self.x = x

    model = Apply(lambda m, x: Box(m.a(x)), a=nn.Linear(4, 6))
    with pytest.raises(TraceError, match="contains a Box"):
        sc.trace(model, torch.randn(2, 4))


@pytest.mark.parametrize("output", [None, 3.0, [], {"loss": 1.0}])
def test_a_model_that_returns_no_tensor_is_refused(output):
    with pytest.raises(TraceError, match="without tensors"):
        sc.trace(Apply(lambda m, x: (m.a(x), output)[1], a=nn.Linear(4, 6)), torch.randn(2, 4))


def test_unused_parameters_are_frozen_as_unused():
    model, inputs = build("bare parameters")
    assert sc.trace(model, inputs).frozen["unused"] == "not used in the forward pass"


@pytest.mark.parametrize(
    ("model", "inputs", "error", "message"),
    [
        ("not a model", torch.randn(2, 4), ModelError, "not str"),
        (nn.ReLU(), torch.randn(2, 4), ModelError, "no parameters"),
        (nn.Linear(4, 2), torch.randn(2, 5), TraceError, r"float32\[2, 5\]"),
        (nn.LazyLinear(4), torch.randn(2, 4), ModelError, "lazy"),
        (torch.jit.script(nn.Linear(4, 2)), torch.randn(2, 4), ModelError, "TorchScript"),
        (nn.Linear(4, 2), 3, sc.errors.DataError, "not int"),
        (nn.Linear(4, 2), (), sc.errors.DataError, "no tensor"),
    ],
)
def test_bad_models_and_inputs(model, inputs, error, message):
    with pytest.raises(error, match=message):
        sc.trace(model, inputs)


def test_keyword_inputs():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, *, x, scale=1.0):
            return self.b(self.a(x).relu()) * scale

    model = Named()
    example = {"x": torch.randn(2, 4), "scale": 2.0}
    s = sc.trace(model, example)
    plan = sc.allocate(s, sc.score(model, [example], "l1", s), "keep:0.5")
    assert sc.apply(model, plan, example).a.out_features == 3


def test_nothing_is_left_behind_after_an_error(net, images):
    from torch.nn.modules import module as m

    before = len(m._global_forward_hooks), len(m._global_forward_pre_hooks)
    net.train()
    state = torch.get_rng_state()
    for broken in (images[:, :2], torch.zeros(2, 3, 6, 6, dtype=torch.int64)):
        with pytest.raises(TraceError):
            sc.trace(net, broken)
    net.register_forward_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        sc.trace(net, images)
    assert (len(m._global_forward_hooks), len(m._global_forward_pre_hooks)) == before
    assert all(module.training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_the_table_names_every_group_and_reason(net, images):
    text = str(sc.trace(net, images, keep=("7",)))
    assert "2 groups" in text
    assert "kept: '7'" in text
    assert "exact" in text


def test_inputs_that_disagree_on_the_number_of_samples_are_traced():
    model = Apply(lambda m, x, q: (m.b(m.a(x).relu()), 2 * q), a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    assert list(sc.trace(model, (torch.randn(2, 4), torch.randn(5, 1))).groups) == ["a"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_without_weights_has_the_same_structure(name):
    model, inputs = build(name)
    structure = sc.trace(model, inputs, kinds="all")
    with torch.device("meta"):
        bare, _ = build(name)
    without = sc.trace(bare, inputs, kinds="all")
    assert [(g.name, g.size, set(g.members)) for g in without.groups.values()] == [
        (g.name, g.size, set(g.members)) for g in structure.groups.values()
    ]
    assert without.frozen == structure.frozen
    assert without.cost() == structure.cost()


class LooksAtValues(nn.Module):
    """Code that asks for values which follow from the inputs, and for others that do not."""

    def __init__(self):
        super().__init__()
        self.embed, self.a, self.b = nn.Embedding(10, 6), nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, ids, by_weights=False):
        places = torch.arange(ids.shape[1], device=ids.device) + ids.new_zeros(1)
        if (places[1:] - places[:-1] == 1).all() and ids.max().item() < 10:
            x = self.embed(ids)
        where = (ids > 4).nonzero()
        kept = x[where[:, 0], where[:, 1]]
        if by_weights and self.a.weight.sum() > 0:
            kept = -kept
        return self.b(self.a(kept).relu())


def test_values_that_follow_from_the_inputs_are_known_without_weights():
    ids = torch.tensor([[1, 7, 3], [8, 9, 2]])
    with torch.device("meta"):
        model = LooksAtValues()
    structure = sc.trace(model, ids)
    assert structure.groups["a"].size == 8
    assert structure.cost() == sc.trace(LooksAtValues(), ids).cost()
    with pytest.raises(TraceError, match=r"item\(\) cannot be called on meta tensors"):
        sc.trace(model, {"ids": ids, "by_weights": True})


def test_what_needs_values_says_so(net, images):
    with torch.device("meta"):
        bare = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(3, 4)
    structure = sc.trace(bare, x)
    plan = sc.allocate(structure, {"0": torch.arange(8)}, "keep:0.5")
    for action in (lambda: sc.score(bare, None, "l1", structure), lambda: sc.apply(bare, plan, x, structure)):
        with pytest.raises(ModelError, match="on the meta device, where weights have sizes but no values"):
            action()


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_a_recurrent_layer_has_the_same_units_whether_or_not_it_runs_as_one_operator(options):
    width = 16 if options.get("bidirectional") else 8
    layers = {"enter": nn.Linear(5, 6), "rnn": nn.LSTM(6, 8, **options), "out": nn.Linear(width, 3)}
    model = Apply(lambda m, x: m.out(m.rnn(m.enter(x))[0]), **layers).eval()
    x = torch.randn(7, 2, 5)
    fused = sc.trace(model, x)
    apart = sc.trace(model.double(), x.double())
    assert [set(g.members) for g in fused.groups.values()] == [set(g.members) for g in apart.groups.values()]
    assert fused.cost() == apart.cost() == sc.cost(model.float(), x)
