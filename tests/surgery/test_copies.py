"""Copies of models: hooks, weights that hooks compute, random operators, and parts that cannot be copied."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import weight_norm

import secateurs as sc
from secateurs.errors import ModelError, VerificationError


class Features(nn.Module):
    """Uses features of the encoder that a hook stores: in a closure, or on the module that runs."""

    def __init__(self, closure):
        super().__init__()
        self.encoder, self.middle = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.head, self.stored = nn.Conv2d(20, 2, 1), {}
        stored = self.stored
        if closure:
            self.encoder.register_forward_hook(lambda module, args, output: stored.update(skip=output))
        else:
            self.encoder.register_forward_hook(store)

    def forward(self, x):
        y = self.middle(self.encoder(x).relu()).relu()
        skip = self.stored["skip"] if self.stored else self.encoder.output
        return self.head(torch.cat([y, skip], 1))


def store(module, args, output):
    module.output = output


def test_a_copy_that_reads_features_of_the_original_is_refused_with_the_module_of_the_hook():
    with pytest.raises(VerificationError, match=r"a copy of Features .* the hooks of 'encoder'"):
        sc.prune(Features(closure=True).eval(), [torch.randn(2, 3, 8, 8)], "l1", "keep:0.9")


def test_a_hook_that_stores_features_on_its_module_is_copied():
    x = torch.randn(2, 3, 8, 8)
    small = sc.prune(Features(closure=False).eval(), [x], "l1", "keep:0.7").model
    first, second = small(x), small(2 * x)
    assert not torch.equal(first, second)
    assert torch.equal(small(x), first)


class AlwaysDropping(nn.Module):
    """Monte Carlo dropout: dropout is active in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 2)

    def forward(self, x):
        x = F.dropout(self.a(x).relu(), 0.5, training=True)
        return self.c(F.dropout(self.b(x).relu() + 0.1 * torch.randn_like(self.b(x)), 0.5, training=True))


def test_random_operators_do_not_keep_units_from_being_removed():
    report = sc.check(AlwaysDropping().eval(), torch.randn(4, 6))
    assert (report.failed, set(report.structure.groups)) == ({}, {"a", "b"})


def normed():
    return nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU(), weight_norm(nn.Conv1d(8, 2, 3)))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("criterion", ["l1", "taylor"])
def test_weights_that_a_hook_computes_survive_pruning_saving_and_loading(criterion, tmp_path):
    batch = torch.randn(2, 3, 12), torch.zeros(2, 2, 10)
    loss = (lambda output, target: (output - target).square().mean()) if criterion == "taylor" else None
    model = normed()
    model(batch[0])  # the weight of the hook now has a gradient function
    result = sc.prune(model.eval(), [batch], criterion, "params:0.8", loss=loss)
    assert result.plan.widths["0"] < 8
    result.save(tmp_path / "small")
    loaded = sc.load(tmp_path / "small", model=normed)
    torch.testing.assert_close(loaded.eval()(batch[0]), result.model(batch[0]))


def test_compiled_and_scripted_parts_are_refused_by_name():
    scripted = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), torch.jit.script(nn.Linear(8, 2)))
    with pytest.raises(ModelError, match="module '2' is a TorchScript module"):
        sc.check(scripted.eval(), torch.randn(2, 4))
    with pytest.raises(ModelError, match="the model was compiled by"):
        sc.check(torch.compile(nn.Linear(4, 2)).eval(), torch.randn(2, 4))
