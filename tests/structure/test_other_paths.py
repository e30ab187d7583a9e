"""Paths that the traced forward pass does not take, and weights that a forward pass overwrites."""

import pytest
import torch
from torch import nn

import secateurs as sc


class Auxiliary(nn.Module):
    """A head that runs in training mode only, as those of GoogLeNet do."""

    def __init__(self):
        super().__init__()
        self.body, self.drop = nn.Conv2d(3, 12, 3), nn.Dropout(0.5)
        self.head, self.auxiliary = nn.Linear(12, 5), nn.Linear(12, 5)

    def forward(self, x):
        features = self.drop(self.body(x).relu().mean((2, 3)))
        return (self.head(features), self.auxiliary(features)) if self.training else self.head(features)


class Branching(nn.Module):
    """One of two heads runs; which one depends on the values."""

    def __init__(self):
        super().__init__()
        self.body, self.inner, self.back = nn.Linear(6, 12), nn.Linear(12, 7), nn.Linear(7, 12)
        self.small, self.large = nn.Linear(12, 5), nn.Linear(12, 5)

    def forward(self, x):
        y = self.body(x).relu()
        y = self.back(self.inner(y).relu()).relu()
        return self.large(y) if y.mean() > 1e9 else self.small(y)


def test_a_head_that_runs_in_training_mode_is_cut_with_the_rest():
    model, x = Auxiliary().eval(), torch.randn(2, 3, 8, 8)
    result = sc.prune(model, [x], "l1", "params:0.7")
    width = result.plan.widths["body"]
    assert width < 12
    assert result.model.auxiliary.in_features == width
    kept = list(result.plan.keep["body"])
    assert torch.equal(result.model.auxiliary.weight, model.auxiliary.weight[:, kept])
    assert [len(output) for output in result.model.train()(x)] == [2, 2]


def test_tracing_a_training_path_leaves_modes_and_state():
    model = Auxiliary().eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sc.trace(model, torch.randn(2, 3, 8, 8))
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_units_that_a_module_which_did_not_run_may_use_are_frozen():
    structure = sc.trace(Branching().eval(), torch.randn(2, 6))
    assert structure.frozen["back"] == "module 'large' did not run on the example inputs, and may use these units"
    assert set(structure.groups) == {"inner"}


class Dead(nn.Module):
    """No code mentions the second head."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.old_head = nn.Linear(6, 12), nn.Linear(12, 5), nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.body(x).relu())


class ByName(Dead):
    """Looks its heads up by text."""

    def forward(self, x):
        return getattr(self, "old_head" if x.shape[0] > 99 else "head")(self.body(x).relu())


def test_a_module_that_no_code_mentions_freezes_nothing():
    assert set(sc.trace(Dead().eval(), torch.randn(2, 6)).groups) == {"body"}
    assert sc.trace(ByName().eval(), torch.randn(2, 6)).frozen["body"].startswith("module 'old_head' did not run")


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_an_embedding_with_a_maximum_norm_keeps_its_weights(kind):
    model = nn.Sequential(kind(30, 12, max_norm=1.0), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    data = [(torch.randint(0, 30, (3, 5)), torch.zeros((3, 5) if kind is nn.Embedding else 3).long())]
    before = model[0].weight.detach().clone()
    assert (before.norm(dim=1) > 1).any()  # a forward pass would change these rows
    structure = sc.trace(model, data[0][0])
    sc.score(model, data, "l1", structure)
    if kind is nn.Embedding:
        sc.prune(model, data, "l1", "params:0.9")
        sc.accuracy(nn.Sequential(model, nn.Flatten(0, 1)), [(data[0][0], torch.zeros(15).long())])
    assert torch.equal(model[0].weight, before)
