"""Operator rules: users add their own, a rule cannot be replaced, and registrations can be undone."""

from pathlib import Path

import pytest
import torch
from support.models import Apply
from support.plans import random_plan
from torch import nn

import secateurs as sc
from secateurs.errors import UsageError
from secateurs.structure import temporary_rules


@torch.library.custom_op("secateurs_test::halve", mutates_args=())
def halve(x: torch.Tensor) -> torch.Tensor:
    return x / 2


@torch.library.custom_op("secateurs_test::rectify", mutates_args=())
def rectify(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(min=0)


@torch.library.custom_op("mylib::gated_scale", mutates_args=())
def gated_scale(x: torch.Tensor, gate: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return x * gate * scale


def follow(flow, out, x):
    return flow.axes(x)


def perceptron(activation):
    torch.manual_seed(0)
    return Apply(lambda m, x: m.b(activation(m.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 3))


@pytest.fixture(autouse=True)
def _undo():
    with temporary_rules():
        yield


def test_an_operator_without_a_rule_freezes_its_axes_and_is_named():
    structure = sc.trace(perceptron(lambda x: torch.cummax(x, 0).values), torch.randn(2, 4))
    assert structure.groups == {}
    assert structure.frozen["a"] == "no rule for operator aten::cummax"


def test_a_custom_operator_takes_a_rule():
    model, x = perceptron(halve), torch.randn(2, 4)
    assert sc.trace(model, x).frozen["a"] == "no rule for operator secateurs_test::halve"
    sc.rule("secateurs_test::halve")(follow)
    assert sc.trace(model, x).groups["a"].size == 6


def test_a_rule_that_fails_freezes_with_its_message():
    def broken(flow, out, x, dim):
        raise KeyError("oops")

    sc.rule("aten::cummax")(broken)
    structure = sc.trace(perceptron(lambda x: torch.cummax(x, 0).values), torch.randn(2, 4))
    assert structure.frozen["a"] == "the rule for operator aten::cummax failed: 'oops'"


def test_a_custom_activation_is_observed_like_a_built_in_one():
    x = torch.randn(2, 4)
    sc.rule("secateurs_test::rectify", kind="activation")(follow)
    ((before, after),) = sc.trace(perceptron(rectify), x).groups["a"].activations
    assert (before.site.operator, before.slot) == (after.site.operator, 0) == ("secateurs_test::rectify", 0)
    assert after.slot == -1


@pytest.mark.parametrize("criterion", ["nexp", "ssi", "apoz"])
def test_criteria_score_a_custom_activation_like_torch_relu(criterion):
    data = [torch.randn(32, 4) for _ in range(3)]
    sc.rule("secateurs_test::rectify", kind="activation")(follow)
    expected = sc.score(perceptron(torch.relu), data, criterion)
    assert expected["a"].unique().numel() > 1
    assert torch.equal(sc.score(perceptron(rectify), data, criterion)["a"], expected["a"])


def test_without_the_kind_a_custom_activation_is_observed_where_it_is_used():
    sc.rule("secateurs_test::rectify")(follow)
    group = sc.trace(perceptron(rectify), torch.randn(2, 4)).groups["a"]
    assert group.activations == ()
    assert [tap.site.operator for tap in group.after] == ["aten::addmm"]


@pytest.mark.parametrize(("kind", "gated"), [("activation", True), ("positive_activation", False)])
def test_only_an_activation_that_can_be_zero_is_a_gate(kind, gated):
    sc.rule("secateurs_test::rectify", kind=kind)(follow)
    layers = {"a": nn.Linear(4, 6), "gate": nn.Linear(4, 6), "out": nn.Linear(6, 3)}
    model = Apply(lambda m, x: m.out(m.a(x) * rectify(m.gate(x))), **layers)
    (fired,) = sc.trace(model, torch.randn(2, 4)).groups["a"].fired
    assert (fired.site.operator == "secateurs_test::rectify") is gated


@pytest.mark.parametrize("operator", ["aten::relu", "aten::mm", "pointwise"])
def test_a_rule_that_exists_is_refused(operator):
    with pytest.raises(UsageError, match=rf"operator {operator} already has a rule, secateurs\.structure\.rules\."):
        sc.rule("secateurs_test::halve", operator)(follow)
    assert "no rule" in sc.trace(perceptron(halve), torch.randn(2, 4)).frozen["a"]  # nothing was registered


def test_code_that_runs_twice_replaces_its_own_rules():
    code = "@sc.rule('secateurs_test::halve')\ndef again(flow, out, x):\n    return {}"
    scope = {"sc": sc, "__name__": "users_file"}
    exec(code.format("()"), scope)
    exec(code.format("flow.axes(x)"), scope)
    assert sc.trace(perceptron(halve), torch.randn(2, 4)).groups["a"].size == 6


def test_a_rule_needs_an_operator_and_a_known_kind():
    with pytest.raises(UsageError, match="name of an operator"):
        sc.rule()
    with pytest.raises(UsageError, match="unknown kind 'nonlinear'; choose one of activation, positive_activation"):
        sc.rule("secateurs_test::halve", kind="nonlinear")


def test_registrations_are_undone_at_the_end_of_the_block_even_after_an_error():
    def register_and_fail():
        with temporary_rules():
            sc.rule("secateurs_test::halve")(follow)
            assert sc.trace(model, x).groups["a"].size == 6
            raise RuntimeError

    model, x = perceptron(halve), torch.randn(2, 4)
    with pytest.raises(RuntimeError):
        register_and_fail()
    assert sc.trace(model, x).frozen["a"] == "no rule for operator secateurs_test::halve"
    assert sc.trace(perceptron(torch.relu), x).groups["a"].activations  # built-in rules stay


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.gate, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.rand(6))

    def forward(self, x):
        return self.out(gated_scale(self.a(x), self.gate(x), self.scale))


def test_the_rule_in_the_docs_works():
    page = (Path(__file__).parents[2] / "docs" / "structure.md").read_text(encoding="utf-8")
    example = page[page.index("## A rule for your own operator") :].split("```")[1].removeprefix("python\n")
    model, x = Gated(), torch.randn(2, 4)
    assert sc.trace(model, x).frozen["a"] == "no rule for operator mylib::gated_scale"
    exec(example, {"__name__": "docs"})
    structure = sc.trace(model, x)
    members = {member.tensor for member in structure.groups["a"].members}
    assert members == {"a.weight", "a.bias", "gate.weight", "gate.bias", "scale", "out.weight"}
    assert sc.cost(sc.apply(model, random_plan(structure), x, structure), x).params < sc.cost(model, x).params
