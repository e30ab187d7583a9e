"""Atomic writes: a file or directory is replaced completely or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or directory; on success, rename it to `path` at the end of the block.

    If the block raises, `path` is unchanged and the temporary files are deleted. If the process is killed, a hidden
    directory may remain beside `path`. If `path` was a directory, the hidden directory may contain the old `path`.

    Args:
        path: the final path of the file or directory. Missing parent directories are created.

    Yields:
        A path that does not exist yet, in a hidden directory beside `path`.

    Raises:
        OSError: the path cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield hidden / path.name
        _replace(hidden / path.name, path)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _replace(new: Path, path: Path) -> None:
    """Rename `new` to `path`. An existing directory is moved aside first and moved back if the rename fails."""
    old = new.with_name(f"{new.name}.old")
    if path.is_dir():
        os.rename(path, old)
    try:
        os.replace(new, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) completely or not at all.

    Args:
        path: the file. Missing parent directories are created.
        text: the content of the file.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
