"""`apply`: the cut model computes the same as the masked dense model, by the plan and by the values of the weights."""

import copy
import itertools
import warnings

import pytest
import torch
from support.masking import tensor_outputs, zero_removed_weights
from support.models import FAMILIES, PARTLY, build
from support.plans import random_plan
from torch import nn
from torch.utils._pytree import tree_leaves

import secateurs as sc
from secateurs.errors import PlanError, PutBackWarning, VerificationError
from secateurs.surgery.apply import apply_and_report
from secateurs.surgery.trials import Trials

INEXACT = {"layer norm", "group norm"}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("budget", ["keep:0.75", "keep:0.4"])
def test_cut_model_equals_masked_model_found_by_weight_values(name, budget):
    model, inputs = build(name)
    structure = sc.trace(model, inputs)
    exact = structure.freeze({n: "not exact" for n, g in structure.groups.items() if g.inexact})
    plan = random_plan(exact, budget) if exact.groups else pytest.skip("no group of it is exact")
    cut = apply_and_report(model, plan, inputs, exact)
    small = cut.model
    assert sc.cost(small, inputs).params < sc.cost(model, inputs).params
    for a, b in zip(
        tensor_outputs(small, inputs), tensor_outputs(zero_removed_weights(model, small), inputs), strict=True
    ):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_group_is_cut_and_costs_the_predicted_amount(name):
    model, inputs = build(name)
    structure = sc.trace(model, inputs)
    assert sc.cost(model, inputs) == structure.cost()
    assert structure.groups
    cut = apply_and_report(model, random_plan(structure), inputs, structure)
    assert sc.cost(cut.model, inputs) == cut.plan.pruned
    assert bool(cut.put_back) == (name in PARTLY)
    assert bool(cut.inexact) == (name in INEXACT)
    assert not any("failed" in reason or "no rule" in reason for reason in structure.frozen.values())
    loss = sum(out.sum() for out in tree_leaves(cut.model.train()(*inputs)) if isinstance(out, torch.Tensor))
    loss.backward()
    assert all(p.grad is not None for n, p in cut.model.named_parameters() if n != "unused")


@pytest.mark.parametrize("name", FAMILIES)
def test_attributes_follow_the_cut(name):
    """A standard module that says it has n channels has n channels."""
    model, inputs = build(name)
    structure = sc.trace(model, inputs)
    cut = apply_and_report(model, random_plan(structure), inputs, structure)
    for module in cut.model.modules():
        if isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == tuple(module.weight.shape)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
            first, second = module.weight.shape[:2]
            made, taken = (second, first) if module.transposed else (first, second)
            groups_in, groups_out = (1, module.groups) if module.transposed else (module.groups, 1)
            assert (module.out_channels, module.in_channels) == (made * groups_out, taken * groups_in)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)):
            size = module.weight if module.affine else module.running_mean
            assert module.num_features == len(size)
        elif isinstance(module, nn.GroupNorm):
            assert module.num_channels == len(module.weight)
        elif isinstance(module, nn.LayerNorm):
            assert module.normalized_shape == tuple(module.weight.shape)


def test_the_input_model_is_untouched(net, images):
    net.train()
    net[0].weight.requires_grad_(False)
    net[3].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    flags = [m.training for m in net.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    state = torch.get_rng_state()
    small = sc.apply(net, random_plan(sc.trace(net, images)), images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [m.training for m in net.modules()] == flags == [m.training for m in small.modules()]
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert not net[0].weight.requires_grad
    assert not small[0].weight.requires_grad
    assert small[3].weight.requires_grad


def test_tied_parameters_are_cut_once_and_stay_tied():
    model, inputs = build("shared")
    small = sc.apply(model, random_plan(sc.trace(model, inputs)), inputs)
    assert small.also.weight is small.twice.weight
    assert len(small.twice.weight) == 4


def test_a_stale_attribute_is_updated():
    model, inputs = build("stale size")
    cut = apply_and_report(model, random_plan(sc.trace(model, inputs)), inputs)
    assert cut.model.width == 3
    assert cut.attributes[""] == {"width": 3}


def test_a_hard_coded_size_keeps_only_its_group_whole():
    model, inputs = build("hard-coded")
    plan = random_plan(sc.trace(model, inputs))
    with pytest.warns(PutBackWarning, match="first"):
        small = sc.apply(model, plan, inputs)
    assert small.first.out_features == 12
    assert small.second.out_features < 8


def test_groups_that_fail_only_together_are_identified():
    class Together(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(12, 3)

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            if a.shape[-1] < 6 and b.shape[-1] < 6:
                raise RuntimeError("one of them must be whole")
            return self.c(torch.cat([a, b], -1))

    model, x = Together(), torch.randn(2, 4)
    cut = apply_and_report(model, random_plan(sc.trace(model, x)), x)
    assert list(cut.put_back) == ["b"]
    assert "one of them must be whole" in cut.put_back["b"]
    assert cut.model.a.out_features == 3


def test_wrong_values_with_right_shapes_are_detected():
    class Sneaky(nn.Module):
        """Divides by the current width: the cut model runs and is wrong."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            h = self.a(x).relu()
            return self.b(h / h.shape[-1])

    model, x = Sneaky(), torch.randn(2, 4)
    with pytest.warns(PutBackWarning, match="output 0 differs"):
        small = sc.apply(model, random_plan(sc.trace(model, x)), x)
    assert small.a.out_features == 6


def test_a_model_whose_outputs_differ_from_run_to_run_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(self.a(x)) * next(calls)

    calls = itertools.count(1)
    model, x = Counting(), torch.randn(2, 4)
    with pytest.raises(VerificationError, match="differ from run to run"):
        sc.apply(model, random_plan(sc.trace(model, x)), x)


def test_a_model_that_draws_random_numbers_is_verified():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.b(self.a(x + torch.rand_like(x)).relu())

    model, x = Noisy(), torch.randn(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sc.apply(model, random_plan(sc.trace(model, x)), x).a.out_features == 3


def test_half_precision_is_preserved():
    model, inputs = build("residual")
    model, inputs = model.bfloat16(), tuple(x.bfloat16() for x in inputs)
    small = sc.apply(model, random_plan(sc.trace(model, inputs)), inputs)
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}


def test_a_plan_for_another_model_is_refused(net, images):
    plan = random_plan(sc.trace(net, images))
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    with pytest.raises(PlanError, match="'3' does not exist"):
        sc.apply(other, plan, images)
    wider = copy.deepcopy(net)
    wider[0], wider[1], wider[3] = nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10), nn.Conv2d(10, 12, 3, padding=1)
    with pytest.raises(PlanError, match="8 units in the plan and 10 units in the model"):
        sc.apply(wider, plan, images)


class Regrouped(nn.Module):
    """Its view runs whatever the width, but regroups the units unless `size` follows."""

    def __init__(self, size=16):
        super().__init__()
        self.size, self.up, self.out = size, nn.Linear(8, 4 * size), nn.Linear(1, 6)

    def forward(self, x):
        y = torch.relu(self.up(x)).view(len(x), -1, self.size)
        return self.out(torch.tanh(y.sum(2)).sum(1, keepdim=True))


@pytest.mark.parametrize("norm", [nn.Identity(), nn.LayerNorm(12)])
def test_inexact_groups_do_not_hide_attributes_that_exact_groups_need(norm):
    model = nn.Sequential(Regrouped(), nn.Linear(6, 12), norm, nn.Linear(12, 3)).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    structure = sc.trace(model, x)
    cut = apply_and_report(model, random_plan(structure), x, structure)
    small = cut.model
    assert not cut.put_back
    assert small[0].size == 8
    masked = zero_removed_weights(model, small)
    kept = list(cut.plan.keep["0.out"])
    torch.testing.assert_close(small[0](x), masked[0](x)[:, kept], rtol=1e-10, atol=1e-12)


def test_intermediate_sizes_are_checked_for_inexact_groups():
    """A fixed slice in front of a norm: the cut model runs, and some units change sides."""

    class Sides(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.out = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(2, 3)

        def forward(self, x):
            h = self.norm(self.a(x)).relu()
            return self.out(torch.stack([h[:, :8].sum(1), h[:, 8:].sum(1)], 1))

    model, x = Sides(), torch.randn(5, 8)
    structure = sc.trace(model, x)
    scores = {name: torch.arange(group.size) for name, group in structure.groups.items()}
    with pytest.warns(PutBackWarning):
        sc.apply(model, sc.allocate(structure, scores, "keep:0.5"), x)


def test_verification_works_with_a_head_of_zeros():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
            nn.init.zeros_(self.head.weight)

        def forward(self, x):
            h = self.a(x).relu()
            return self.head(h / h.shape[1])

    model, x = Scaled(), torch.randn(2, 4)
    with pytest.warns(PutBackWarning, match="differs"):
        sc.apply(model, random_plan(sc.trace(model, x)), x)
    assert not model.head.weight.any()


def test_outputs_that_are_all_nan_are_refused():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.full((2, 4), float("nan"))
    with pytest.raises(VerificationError, match="finite"):
        sc.apply(model, random_plan(sc.trace(model, x)), x)


def test_a_copy_that_runs_the_weights_of_its_original_is_refused():
    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
            net = self.net
            self.function = lambda x: net(x)

        def forward(self, x):
            return self.function(x)

    model, x = Closed(), torch.randn(2, 4)
    with pytest.warns(PutBackWarning, match="does not use its own net.0.weight"):
        sc.apply(model, random_plan(sc.trace(model, x)), x)


def test_inputs_and_buffers_that_a_model_writes_to_are_preserved():
    class Writer(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.last = x.sum()
            return self.b(self.a(x.sub_(0.5)).relu())

    model, x = Writer(), torch.randn(8, 4)
    before = x.clone()
    sc.cost(model, x)
    small = sc.apply(model, random_plan(sc.trace(model, x)), x)
    sc.score(model, [x], "nexp")
    assert torch.equal(x, before)
    assert (model.calls, model.last, small.calls, small.last) == (0, 0, 0, 0)


class StreamHeads(nn.Module):
    """Attention that computes the head size from the width of the stream, so that no head can be removed."""

    def __init__(self):
        super().__init__()
        self.heads, self.qkv, self.out = 4, nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return x + self.down(self.up(x).relu())


@pytest.mark.parametrize("depth", [2, 6])
def test_the_number_of_trial_runs_does_not_grow_with_depth(depth, monkeypatch):
    runs = []
    original = Trials._run
    monkeypatch.setattr(Trials, "_run", lambda self, *args: (runs.append(1), original(self, *args))[1])
    model, x = nn.Sequential(*(StreamHeads() for _ in range(depth)), nn.Linear(16, 3)), torch.randn(2, 5, 16)
    structure = sc.trace(model, x)
    cut = apply_and_report(model, random_plan(structure), x, structure)
    assert {structure.group(name).kind for name in cut.put_back} == {"head"}
    assert [g.kind for g in structure.freeze(cut.put_back).groups.values()] == ["neuron"] * depth
    assert len(cut.put_back) == depth
    assert len(runs) <= 8


def test_modules_of_one_class_that_raise_are_identified_together():
    class Checked(StreamHeads):
        def forward(self, x):
            if self.qkv.out_features != 48:
                raise ValueError("three times sixteen, please")
            return super().forward(x)

    model, x = nn.Sequential(Checked(), Checked(), nn.Linear(16, 3)), torch.randn(2, 5, 16)
    structure = sc.trace(model, x)
    cut = apply_and_report(model, random_plan(structure), x, structure)
    reasons = list(cut.put_back.values())
    assert reasons[0] == "ValueError: three times sixteen, please"
    assert reasons[1:] == ["ValueError: three times sixteen, please (in 0, of the same class)"]


def test_an_attribute_of_an_exact_group_does_not_follow_an_inexact_group_of_equal_size():
    """`count` holds the width of `a`; `b`, which is not exact and joins in later, has the same width."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.count = 8
            self.a, self.b, self.norm = nn.Linear(4, 8), nn.Linear(4, 8), nn.LayerNorm(8)
            self.c, self.d = nn.Linear(8, 3), nn.Linear(8, 3)

        def forward(self, x):
            left = self.a(x).relu().view(len(x), self.count)
            return self.c(left) + self.d(self.norm(self.b(x)).view(len(x), 8 if self.b.out_features == 8 else -1))

    model, x = Counting(), torch.randn(5, 4)
    structure = sc.trace(model, x)
    assert {name: bool(group.inexact) for name, group in structure.groups.items()} == {"a": False, "b": True}
    scores = {name: torch.arange(8.0) for name in "ab"}
    plan = sc.allocate(structure, scores, "keep:0.5", scope="local")
    other = sc.allocate(structure, {**scores, "b": torch.arange(8.0) + 4}, "keep:0.5")
    for one in (plan, other):
        cut = apply_and_report(model, one, x, structure)
        assert cut.model.count == len(one.keep["a"])
        assert not cut.put_back


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_norm_whose_shape_is_an_attribute_is_cut(norm):
    model = nn.Sequential(nn.Linear(6, 8), norm(8), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    x = torch.randn(2, 6)
    assert sc.check(model, x, kinds="all").failed == {}
    structure = sc.trace(model, x, kinds="all")
    plan = sc.allocate(structure, {"0": torch.arange(8)}, "keep:0.5")
    small = sc.apply(model, plan, x, structure)
    assert tuple(small[1].normalized_shape) == small[1].weight.shape == (4,)
