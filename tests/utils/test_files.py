"""What is written is there whole, or what was there before is; and nothing else."""

import os

import pytest

from secateurs.utils.atomic_write import atomic_path, atomic_write_text


def content(path):
    return {its.name: its.read_text() for its in path.iterdir()} if path.is_dir() else path.read_text()


def put(path, directory, text, then=lambda: None):
    with atomic_path(path) as new:
        if directory:
            new.mkdir()
            (new / "a").write_text(text)
        else:
            new.write_text(text)
        then()


@pytest.mark.parametrize("directory", [False, True])
def test_what_is_new_takes_the_place_of_what_is_old(directory, tmp_path):
    path = tmp_path / "deep" / "path"
    for text in ("one", "two"):
        put(path, directory, text)
        assert content(path) == ({"a": text} if directory else text)
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("when", ["written", "renamed"])
def test_whatever_goes_wrong_the_old_stays(when, directory, tmp_path, monkeypatch):
    path = tmp_path / "path"
    put(path, directory, "one")
    before = content(path)

    def failing(*_):
        raise OSError("no space left")

    if when == "renamed":
        monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space left"):
        put(path, directory, "two", failing if when == "written" else list)
    assert content(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_does_not_take_the_place_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "path"):
        pass
    assert not list(tmp_path.iterdir())
    atomic_write_text(tmp_path / "path", "ä")
    assert (tmp_path / "path").read_bytes() == "ä".encode()
