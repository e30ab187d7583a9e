"""Freezing: axes that may not lose an index, and the reason for each."""

from dataclasses import dataclass

import pytest
import torch
from support.models import Apply, build
from torch import nn

import secateurs as sc


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda m, x: m.b(m.a(x).softmax(-1)), "runs along this axis"),
        (lambda m, x: m.b(m.a(x) * m.a(x).amax(-1, keepdim=True)), "reduces this axis"),
        (lambda m, x: m.b(m.a(x).flip(-1)), "reordered"),
        (lambda m, x: m.b(m.a(x)) * m.a(x)[:, :1], None),
        (lambda m, x: m.b(m.a(x)) + m.a(x)[:, 2:3], None),
        (lambda m, x: m.b(m.a(x)[:, ::2].repeat(1, 2)), "with a step"),
        (lambda m, x: m.b(m.a(x) + x[:, :1] * torch.arange(6.0)), "the code sets the size"),
    ],
)
def test_operators_across_units_freeze_them_or_verification_decides(run, reason):
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


def test_unused_parameters_are_frozen_as_unused():
    model, inputs = build("bare parameters")
    assert sc.trace(model, inputs).frozen["unused"] == "not used in the forward pass"
