"""Exported models compute the same outputs, and formats can be registered from outside the package."""

import copy

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.errors import PersistError, UsageError
from secateurs.persist import EXPORT_FORMATS, temporary_export_formats


class Branching(nn.Module):
    """A module whose control flow depends on values, which `torch.export` does not support."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class KeywordInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x, *, scale):
        return {"scores": self.linear(x) * scale}


@pytest.fixture
def formats():
    with temporary_export_formats():
        yield EXPORT_FORMATS


def test_a_pruned_model_is_exported_as_pt2(net, batches, tmp_path):
    small = sc.prune(net, batches, criterion="l2", budget="keep:0.5").model
    modes, x = [module.training for module in small.modules()], torch.randn(5, 3, 6, 6)
    path = sc.export(small, batches[0][0], tmp_path / "deep" / "small.pt2")
    assert [module.training for module in small.modules()] == modes
    loaded = torch.export.load(path).module()
    torch.testing.assert_close(loaded(x), small.eval()(x))  # the number of samples differs from the example


def test_keyword_arguments_are_exported(tmp_path):
    inputs = {"x": torch.randn(4, 6), "scale": torch.tensor(2.0)}
    model = KeywordInputs()
    loaded = torch.export.load(sc.export(model, inputs, tmp_path / "named.pt2")).module()
    torch.testing.assert_close(loaded(**inputs), model(**inputs))


def test_a_single_sample_is_exported(net, images, tmp_path):
    loaded = torch.export.load(sc.export(net, images[:1], tmp_path / "one.pt2")).module()
    torch.testing.assert_close(loaded(images[:1]), net.eval()(images[:1]))


def test_a_format_is_added_from_outside(net, images, formats, tmp_path):
    @sc.export_format("state")
    def state(model, call, path):
        """The state dict alone."""
        torch.save(model.state_dict(), path)
        loaded = copy.deepcopy(model)
        loaded.load_state_dict(torch.load(path, weights_only=True))
        return loaded

    path = sc.export(net, images, tmp_path / "net.pt", format="state")
    assert torch.load(path, weights_only=True).keys() == net.state_dict().keys()
    assert formats["state"].summary == "The state dict alone."


def test_registered_formats_are_restored():
    before = dict(EXPORT_FORMATS)
    with temporary_export_formats():
        EXPORT_FORMATS.pop("pt2")
    assert before == EXPORT_FORMATS


def test_an_export_with_other_outputs_is_refused_and_leaves_no_file(net, images, formats, tmp_path):
    @sc.export_format("wrong")
    def wrong(model, call, path):
        """Negated outputs."""
        path.write_text("wrong")
        return lambda x: -model(x)

    with pytest.raises(PersistError, match="the outputs of the exported Sequential differ"):
        sc.export(net, images, tmp_path / "wrong", format="wrong")
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_exported_is_an_error(images, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Branching())
    with pytest.raises(PersistError, match=r"Sequential cannot be exported to .* as pt2"):
        sc.export(model, images, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_an_existing_path_and_an_unknown_format_are_refused(net, images, tmp_path):
    (tmp_path / "existing").write_text("")
    with pytest.raises(PersistError, match="exists already"):
        sc.export(net, images, tmp_path / "existing")
    with pytest.raises(UsageError, match="unknown export format 'tflite': choose one of huggingface, pt2"):
        sc.export(net, images, tmp_path / "new", format="tflite")


def test_a_format_needs_a_new_name_and_a_docstring(formats):
    with pytest.raises(UsageError, match="'pt2' exists already"):
        sc.export_format("pt2")
    with pytest.raises(UsageError, match="needs a docstring"):
        sc.export_format("bare")(lambda model, call, path: None)
