"""Training through adapters that are merged into the weights."""

import copy

import benchmarks.torchvision_ops  # noqa: F401  (first: peft imports torchvision, where it is installed)

# isort: split
import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.errors import DataError, ModelError, UsageError

pytest.importorskip("peft", reason="peft is not installed (pip install secateurs[lora])")

RECIPE = sc.Recovery(epochs=4, lr=0.1, lora=2)


class Mixed(nn.Module):
    """A network of layers that can and layers that cannot have an adapter."""

    def __init__(self):
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=3)
        self.norm = nn.BatchNorm2d(6)
        self.inner, self.fixed = nn.Linear(24, 8), nn.Linear(8, 8)
        self.one = self.other = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)
        self.fixed.requires_grad_(False)

    def forward(self, x):
        x = self.norm(self.grouped(self.conv(x))).relu().flatten(1)
        return self.head(self.other(self.one(self.fixed(self.inner(x)).relu())))


ADAPTED = {"conv", "inner", "head"}


def description(model):
    """Everything about a model but the values of tensors."""
    return (
        [(name, type(module), set(vars(module)), module.training) for name, module in model.named_modules()],
        [(name, p.requires_grad, p.shape, p.grad) for name, p in model.named_parameters()],
        list(model.state_dict()),
    )


def test_adapted_weights_change_by_a_low_rank_and_adapters_are_removed(batches):
    model = Mixed()
    before, layers = copy.deepcopy(model.state_dict()), dict(model.named_modules())
    before_training = description(model)
    history = sc.finetune(model, batches, RECIPE)
    assert history.train[-1] < history.train[0]
    assert description(model) == before_training
    assert all(layers[name] is module for name, module in model.named_modules())
    for name, tensor in model.state_dict().items():
        layer, _, kind = name.rpartition(".")
        assert torch.equal(tensor, before[name]) != (layer == "norm" and kind.startswith(("running", "num"))) or (
            layer in ADAPTED and kind == "weight"
        )
    for layer in ADAPTED:
        change = (model.get_parameter(f"{layer}.weight") - before[f"{layer}.weight"]).flatten(1)
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2


def test_merging_does_not_change_the_outputs(batches):
    """The validation loss is measured before merging."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU(), nn.Linear(8, 4))
    history = sc.finetune(model, batches, RECIPE, validation=batches)
    assert sc.mean_loss(model, batches) == pytest.approx(history.validation[-1], rel=1e-5)


def test_adapters_are_removed_after_a_failure(batches):
    model = Mixed()
    before_training = description(model)
    with pytest.raises(DataError, match="failed on batch 1"):
        sc.finetune(model, [batches[0], (torch.randn(4, 5, 6, 6), torch.zeros(4).long())], RECIPE)
    assert description(model) == before_training


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(3, 3, 1, groups=3)), nn.LayerNorm(3)])
def test_a_model_without_adaptable_layers_is_refused(model, batches):
    with pytest.raises(ModelError, match="can have an adapter of rank 2"):
        sc.finetune(model, batches, RECIPE)


def test_the_best_epoch_is_restored_with_adapters(batches):
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU(), nn.Linear(8, 4))
    recipe = sc.Recovery(epochs=20, lr=0.5, lr_schedule="constant", lora=2, patience=2)
    history = sc.finetune(model, batches, recipe, validation=batches[:1])
    assert len(history.train) == history.best + 3
    assert sc.mean_loss(model, batches[:1]) == pytest.approx(history.validation[history.best], rel=1e-4)


def test_missing_peft_is_an_error(batches, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UsageError, match=r"pip install 'secateurs\[lora\]"):
        sc.finetune(Mixed(), batches, RECIPE)
