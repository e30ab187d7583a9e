"""Loading a saved model: equal outputs, and refused files and models."""

import pytest
import torch
from support.masking import tensor_outputs
from support.models import FAMILIES, PARTLY, build
from support.plans import random_plan
from support.saved import build_mlp, save_pruned
from support.states import copy_state, equal_states
from torch import nn

import secateurs as sc
from secateurs.errors import PersistError
from secateurs.persist.save import save
from secateurs.surgery.apply import apply_and_report


@pytest.fixture
def saved(tmp_path):
    """The directory of a saved model, and the result that was saved."""
    return tmp_path / "saved", save_pruned(tmp_path / "saved")


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(PARTLY)))
def test_a_saved_model_computes_bit_equal_outputs(name, tmp_path):
    model, inputs = build(name)
    cut = apply_and_report(model, random_plan(sc.trace(model, inputs)), inputs)
    save(tmp_path / "m", cut.model, cut.plan, cut.attributes, "random")
    loaded = sc.load(tmp_path / "m", model=lambda: FAMILIES[name]()[0])
    for a, b in zip(tensor_outputs(loaded, inputs), tensor_outputs(cut.model, inputs), strict=True):
        assert torch.equal(a, b)
    assert str(loaded) == str(cut.model)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["manifest.json", "model.safetensors", "plan.json"]


def test_tied_weights_modes_and_non_persistent_buffers_are_restored(tmp_path):
    class TiedAndBuffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)
            self.b.weight = self.a.weight
            self.register_buffer("shift", torch.ones(6) * 3, persistent=False)
            self.constant = torch.full((1,), 2.0)  # a tensor outside the state dict

        def forward(self, x):
            return self.c((self.a(x) + self.b(x) + self.shift).relu()) * self.constant

    model, x = TiedAndBuffered().eval(), torch.randn(5, 4)
    result = sc.prune(model, [x], criterion="l1", budget="keep:0.5")
    result.save(tmp_path / "m")
    state = torch.get_rng_state()
    loaded = sc.load(tmp_path / "m", model=TiedAndBuffered)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.b.weight is loaded.a.weight
    assert not loaded.training
    assert len(loaded.shift) == 3
    assert torch.equal(loaded(x), result.model(x))


def test_the_factory_builds_the_model_without_weights(saved):
    directory, _ = saved
    devices = []

    def factory():
        model = build_mlp()
        devices.append(model[0].weight.device.type)
        return model

    sc.load(directory, model=factory)
    assert devices == ["meta"]


def test_a_loaded_model_can_be_trained(saved):
    directory, _ = saved
    loaded = sc.load(directory, model=build_mlp)
    before = copy_state(loaded)
    history = sc.finetune(loaded, [(torch.randn(8, 4), torch.randint(3, (8,)))], sc.Recovery(lr=0.1))
    assert len(history.train) == 1
    assert not equal_states(loaded, before)


def damage(name, change):
    def apply(directory):
        path = directory / name
        path.write_bytes(change(path.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage("model.safetensors", lambda b: b[:-7]), "truncated or altered"),
        (damage("model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])), "truncated or altered"),
        (damage("plan.json", lambda b: b.replace(b"keep:0.5", b"keep:0.6")), "truncated or altered"),
        (damage("manifest.json", lambda b: b[:50]), "not a manifest"),
        (
            damage("manifest.json", lambda b: b.replace(b'"out_features": 3', b'"out_features": 4')),
            "truncated or altered",
        ),
        (damage("manifest.json", lambda b: b.replace(b'"format"', b'"more": 1, "format"')), "not a manifest"),
        (lambda d: (d / "manifest.json").unlink(), "not a complete saved model"),
        (lambda d: (d / "model.safetensors").unlink(), "not a complete saved model"),
    ],
)
def test_a_truncated_or_tampered_save_is_refused(saved, harm, message):
    directory, _ = saved
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    harm(directory)
    assert before != {p.name: p.read_bytes() for p in directory.iterdir()}
    with pytest.raises(PersistError, match=message):
        sc.load(directory, model=build_mlp)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)), "another model"),
        (lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3)), "cannot be cut from"),
        (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Linear(3, 3)), "another model"),
        (lambda: "no model", "must build a torch.nn.Module"),
        (lambda size: nn.Linear(size, 3), "function without arguments"),
        (None, "function without arguments"),
    ],
)
def test_another_model_is_refused(saved, factory, message):
    with pytest.raises(PersistError, match=message):
        sc.load(saved[0], model=factory)


def test_modes_and_frozen_parameters_are_restored(tmp_path):
    model = build_mlp()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    sc.prune(model, [torch.randn(8, 4)], criterion="l1", budget="keep:0.5").save(tmp_path / "m")
    loaded = sc.load(tmp_path / "m", model=build_mlp)
    assert [module.training for module in loaded.modules()] == [True, True, False, True]
    assert [n for n, p in loaded.named_parameters() if not p.requires_grad] == ["0.bias"]


def test_a_model_that_the_factory_returns_is_not_changed(saved):
    dense = build_mlp()
    assert sc.load(saved[0], model=lambda: dense) is not dense
    assert dense[0].out_features == 6 == len(dense[0].weight)


def test_tensors_in_lists_keep_their_values(tmp_path):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
            self.scales = [torch.tensor(2.0), {"other": torch.tensor(3.0)}]

        def forward(self, x):
            return self.b(self.a(x).relu()) * self.scales[0] * self.scales[1]["other"]

    model, x = Listed(), torch.randn(5, 4)
    result = sc.prune(model, [x], criterion="l1", budget="keep:0.5")
    result.save(tmp_path / "m")
    assert torch.equal(sc.load(tmp_path / "m", model=Listed)(x), result.model(x))
