"""Plans and saved models are read as they were written, and damaged files are refused."""

import json
import os
import stat
import sys

import pytest
import torch
from support.masking import tensor_outputs
from support.models import FAMILIES, PARTLY, build
from support.plans import random_plan
from torch import nn

import secateurs as sc
from secateurs.errors import PersistError, PlanError
from secateurs.persist.save import save
from secateurs.surgery.apply import apply_and_report


@pytest.fixture
def plan(net, images):
    return random_plan(sc.trace(net, images))


def test_a_plan_is_read_as_it_was_written(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    assert sc.Plan.load(tmp_path / "plan.json") == plan
    assert json.loads((tmp_path / "plan.json").read_text())["groups"]["0"]["keep"] == list(plan.keep["0"])
    assert "MACs" in str(plan)
    assert set(plan.removed()["0"]) == set(range(8)) - set(plan.keep["0"])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(more=1),
        lambda p: p.pop("budget"),
        lambda p: p["groups"]["0"].update(keep=[3, 1]),
        lambda p: p["groups"]["0"].update(keep=[1, 1]),
        lambda p: p["groups"]["0"].update(keep=[]),
        lambda p: p["groups"]["0"].update(keep=[8]),
        lambda p: p["groups"]["0"].update(keep=[-1]),
        lambda p: p["groups"]["0"].update(keep=["1"]),
        lambda p: p["dense"].update(params="many"),
        lambda p: p["dense"].update(more=1),
    ],
)
def test_a_file_that_is_no_plan_is_refused(plan, tmp_path, change):
    path = tmp_path / "plan.json"
    content = json.loads(plan.model_dump_json())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match="is not a plan"):
        sc.Plan.load(path)


def test_unreadable_and_unwritable_plans_are_errors(plan, tmp_path):
    with pytest.raises(PlanError, match="cannot read the plan"):
        sc.Plan.load(tmp_path / "absent.json")
    with pytest.raises(PlanError, match="cannot write the plan"):
        plan.save(tmp_path / "absent" / "plan.json")
    (tmp_path / "plan.json").write_text(plan.model_dump_json()[:100])
    with pytest.raises(PlanError, match="is not a plan"):
        sc.Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(PARTLY)))
def test_a_saved_model_computes_the_same_bit_for_bit(name, tmp_path):
    model, inputs = build(name)
    cut = apply_and_report(model, random_plan(sc.trace(model, inputs)), inputs)
    save(tmp_path / "m", cut.model, cut.plan, cut.attributes, "random")
    loaded = sc.load(tmp_path / "m", model=lambda: FAMILIES[name]()[0])
    for a, b in zip(tensor_outputs(loaded, inputs), tensor_outputs(cut.model, inputs), strict=True):
        assert torch.equal(a, b)
    assert str(loaded) == str(cut.model)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["manifest.json", "model.safetensors", "plan.json"]


def build_net():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def saved(tmp_path):
    data = [torch.randn(8, 4)]
    result = sc.prune(build_net(), data, criterion="nexp", budget="keep:0.5")
    result.save(tmp_path / "saved")
    return tmp_path / "saved", result


def test_tied_weights_modes_and_non_persistent_buffers_survive(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)
            self.b.weight = self.a.weight
            self.register_buffer("shift", torch.ones(6) * 3, persistent=False)
            self.constant = torch.full((1,), 2.0)  # a tensor outside the state dict

        def forward(self, x):
            return self.c((self.a(x) + self.b(x) + self.shift).relu()) * self.constant

    model, x = Odd().eval(), torch.randn(5, 4)
    result = sc.prune(model, [x], criterion="l1", budget="keep:0.5")
    result.save(tmp_path / "m")
    state = torch.get_rng_state()
    loaded = sc.load(tmp_path / "m", model=Odd)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.b.weight is loaded.a.weight
    assert not loaded.training
    assert len(loaded.shift) == 3
    assert torch.equal(loaded(x), result.model(x))


def test_the_skeleton_is_built_without_weights(saved):
    directory, _ = saved
    devices = []

    def factory():
        model = build_net()
        devices.append(model[0].weight.device.type)
        return model

    sc.load(directory, model=factory)
    assert devices == ["meta"]


def test_a_loaded_model_trains(saved):
    directory, _ = saved
    loaded = sc.load(directory, model=build_net)
    sc.finetune(loaded, [(torch.randn(8, 4), torch.randint(3, (8,)))], sc.Recovery(lr=0.1))


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
        sc.load(directory, model=build_net)


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


def test_only_a_saved_model_is_overwritten_and_only_on_request(saved):
    directory, result = saved
    with pytest.raises(PersistError, match="exists already"):
        result.save(directory)
    with torch.no_grad():
        result.model[2].bias.fill_(7)
    result.save(directory, overwrite=True)
    assert sc.load(directory, model=build_net)[2].bias.tolist() == [7, 7, 7]
    other = directory.parent / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    for name in ("precious.txt", "manifest.json"):  # other programs have manifests too
        (other / name).write_text("mine")
        with pytest.raises(PersistError):
            result.save(other, overwrite=True)
        assert (other / "precious.txt").read_text() == "mine"


def test_symbolic_links_are_followed(saved, tmp_path):
    directory, result = saved
    (tmp_path / "link").symlink_to(directory)
    result.save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    sc.load(tmp_path / "link", model=build_net)


def test_modes_and_fixed_parameters_survive(tmp_path):
    model = build_net()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    sc.prune(model, [torch.randn(8, 4)], criterion="l1", budget="keep:0.5").save(tmp_path / "m")
    loaded = sc.load(tmp_path / "m", model=build_net)
    assert [module.training for module in loaded.modules()] == [True, True, False, True]
    assert [n for n, p in loaded.named_parameters() if not p.requires_grad] == ["0.bias"]


def test_a_model_that_the_factory_returns_is_not_changed(saved):
    dense = build_net()
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


def test_a_directory_that_cannot_be_written_is_an_error(saved, tmp_path):
    _, result = saved
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistError, match="cannot be saved"):
        result.save(tmp_path / "file" / "inside")
    if os.getuid():  # root may write anywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(stat.S_IREAD | stat.S_IEXEC)
        with pytest.raises(PersistError, match="cannot be saved"):
            result.save(locked / "m")


def test_a_failed_save_leaves_the_previous_one(saved, monkeypatch):
    directory, result = saved
    before = {p.name: p.read_bytes() for p in directory.iterdir()}
    module = sys.modules["secateurs.persist.save"]  # the package exports a function of the same name
    monkeypatch.setattr(module, "digest", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(PersistError, match="disk full"):
        result.save(directory, overwrite=True)
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == before
    assert [p.name for p in directory.parent.iterdir()] == ["saved"]
