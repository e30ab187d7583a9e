"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` for a file or a directory; it takes the place of `path` once it is complete.

    Whatever goes wrong, `path` stays as it was, and nothing is left beside it. Killed in between, at most a hidden
    directory is left over; where a directory replaces another, it may hold that one.

    Args:
        path: where the file or directory is to be; its parents are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield home / path.name
        _put(home / path.name, path)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _put(new: Path, path: Path) -> None:
    """Rename `new` to `path`; a directory that is there is set aside for it, and put back if that fails."""
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
    """Write a text file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
