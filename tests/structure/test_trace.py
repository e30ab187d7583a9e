"""Tracing: groups, names, `keep`, and models that cannot be traced."""

import pytest
import torch
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
def test_keep_leaves_the_names_and_groups_of_other_units(name):
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
    with pytest.raises(NoMatchError, match=r"matches no module.*which has the modules 0, 1"):
        sc.trace(net, images, keep=(pattern,))


def test_an_output_that_cannot_be_searched_for_tensors_is_refused():
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
def test_unusable_models_and_inputs_are_refused(model, inputs, error, message):
    with pytest.raises(error, match=message):
        sc.trace(model, inputs)


def test_keyword_inputs_are_traced_scored_and_cut():
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


def test_a_failed_trace_restores_hooks_modes_and_random_state(net, images):
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
