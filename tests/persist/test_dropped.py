"""Models with dropped layers are saved and loaded exactly, with and without a configuration field for the depth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.hidden_chain import hidden_chain
from support.layers import logits, tiny

import secateurs as sc
from secateurs.cli import app
from secateurs.errors import PersistError
from secateurs.surgery.dropped_layers import Dropped, dropped

X = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(0))


def small_chain(*names):
    return sc.drop_layers(hidden_chain(), names, X)


def pruned(model, directory, data=X, **options):
    result = sc.prune(model, [data], criterion="l2", budget="keep:0.5", scope="local", **options)
    result.save(directory)
    return result.model


def test_dropped_layers_and_pruned_units_are_saved_and_loaded(tmp_path):
    small = sc.drop_layers(small_chain("blocks.0"), ["blocks.1"], X)
    assert dropped(small) == (Dropped(("blocks.0",), {}), Dropped(("blocks.1",), {}))
    model = pruned(small, tmp_path / "m", compensate=False)
    loaded = sc.load(tmp_path / "m", model=hidden_chain)
    assert [block.index for block in loaded.blocks] == [10, 11]
    assert torch.equal(loaded(X), model(X))
    assert str(loaded) == str(model)
    assert dropped(loaded) == dropped(model) == dropped(small)
    for factory in (lambda: small, lambda: small_chain("blocks.0")):  # all or some layers are dropped already
        assert torch.equal(sc.load(tmp_path / "m", model=factory)(X), model(X))
    assert len(small.blocks) == 2


def test_a_resumed_run_knows_the_dropped_layers(tmp_path):
    small = small_chain("blocks.2")
    first = sc.prune(small, [X], criterion="l2", budget="keep:0.5", directory=tmp_path / "run")
    again = sc.prune(small, [X], criterion="l2", budget="keep:0.5", directory=tmp_path / "run")
    assert torch.equal(first.model(X), again.model(X))
    assert dropped(again.model) == dropped(small)


@pytest.mark.parametrize("has_field", [True, False])
def test_the_configuration_is_loaded_with_the_depth_if_it_describes_the_model(has_field, tmp_path):
    model, inputs = tiny("GPT2LMHeadModel")
    model.config.scale_attn_by_inverse_layer_idx = not has_field  # scales by the original number of a layer
    dense = type(model)(model.config).double().eval()
    small = sc.drop_layers(dense, ["transformer.h.1"], inputs)
    assert dropped(small) == (Dropped(("transformer.h.1",), {"config.n_layer": 3} if has_field else {}),)
    model = pruned(small, tmp_path / "m", inputs, kinds="neuron", compensate=False)
    loaded = sc.load(tmp_path / "m", lambda: type(dense)(dense.config))
    assert loaded.config.n_layer == (3 if has_field else 4)
    assert loaded.config.to_dict() == model.config.to_dict()
    assert torch.equal(logits(loaded, inputs), logits(model, inputs))
    assert dense.config.n_layer == 4


def test_another_model_is_refused_with_the_missing_layer(tmp_path):
    pruned(small_chain("blocks.3"), tmp_path / "m")
    with pytest.raises(PersistError, match=r"another model than `model` builds: HiddenChain has no layer 'blocks\.3'"):
        sc.load(tmp_path / "m", lambda: hidden_chain(3))
    with pytest.raises(PersistError, match=r"different layers of HiddenChain were dropped before: blocks\.1"):
        sc.load(tmp_path / "m", lambda: small_chain("blocks.1"))
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    manifest["dropped"] = []
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PersistError, match="altered"):
        sc.load(tmp_path / "m", hidden_chain)


def test_the_command_saves_a_model_without_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("from support.hidden_chain import hidden_chain\n")
    np.savez("x.npz", x=X.numpy())
    arguments = ["layers", "py:net.py:hidden_chain", "--data", "npz:x.npz", "--out", "small"]
    result = CliRunner().invoke(app, arguments)
    assert "Model: small, for sc.load" in result.stdout
    loaded = sc.load("small", hidden_chain)
    (step,) = dropped(loaded)
    assert torch.equal(loaded(X), small_chain(*step.layers)(X))
    assert sc.Plan.load("small/plan.json").pruned.params == sum(p.numel() for p in loaded.parameters())
