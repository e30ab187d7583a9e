"""Saving a pruned model: what is overwritten, and failures."""

import os
import stat
import sys

import pytest
import torch
from support.saved import build_mlp, save_pruned
from support.states import equal_states

import secateurs as sc
from secateurs.errors import PersistError


@pytest.fixture
def saved(tmp_path):
    """The directory of a saved model, and the result that was saved."""
    return tmp_path / "saved", save_pruned(tmp_path / "saved")


def test_only_a_saved_model_is_overwritten_and_only_on_request(saved):
    directory, result = saved
    with pytest.raises(PersistError, match="exists already"):
        result.save(directory)
    with torch.no_grad():
        result.model[2].bias.fill_(7)
    result.save(directory, overwrite=True)
    assert sc.load(directory, model=build_mlp)[2].bias.tolist() == [7, 7, 7]
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
    assert equal_states(sc.load(tmp_path / "link", model=build_mlp), result.model)


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
