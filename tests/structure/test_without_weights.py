"""Models on the meta device: sizes without values."""

import pytest
import torch
from support.models import FAMILIES, build
from torch import nn

import secateurs as sc
from secateurs.errors import ModelError, TraceError


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


def test_scoring_and_cutting_without_weights_are_refused(net, images):
    with torch.device("meta"):
        bare = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(3, 4)
    structure = sc.trace(bare, x)
    plan = sc.allocate(structure, {"0": torch.arange(8)}, "keep:0.5")
    for action in (lambda: sc.score(bare, None, "l1", structure), lambda: sc.apply(bare, plan, x, structure)):
        with pytest.raises(ModelError, match="on the meta device, where weights have shapes but no values"):
            action()
