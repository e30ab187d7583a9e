"""Atomic writes replace a file or directory completely or not at all, and leave no temporary files."""

import os

import pytest

from secateurs.utils.atomic_write import atomic_path, atomic_write_text


def content(path):
    return {file.name: file.read_text() for file in path.iterdir()} if path.is_dir() else path.read_text()


def put(path, directory, text, then=lambda: None):
    with atomic_path(path) as new:
        if directory:
            new.mkdir()
            (new / "a").write_text(text)
        else:
            new.write_text(text)
        then()


@pytest.mark.parametrize("directory", [False, True])
def test_a_second_write_replaces_the_first(directory, tmp_path):
    path = tmp_path / "deep" / "path"
    for text in ("one", "two"):
        put(path, directory, text)
        assert content(path) == ({"a": text} if directory else text)
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("when", ["written", "renamed"])
def test_a_failed_write_leaves_the_old_content(when, directory, tmp_path, monkeypatch):
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


def test_a_block_that_writes_nothing_fails(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "path"):
        pass
    assert not list(tmp_path.iterdir())
    atomic_write_text(tmp_path / "path", "ä")
    assert (tmp_path / "path").read_bytes() == "ä".encode()
