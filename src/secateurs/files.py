"""Files and directories that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` for a file or a directory; it takes the place of `path` once it is complete.

    Whatever goes wrong, `path` stays as it was, and nothing is left beside it. Killed in between, at most a hidden
    file or directory is left over. A directory replaces only an empty one.

    Args:
        path: where the file or directory is to be; its parents are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield home / path.name
        os.replace(home / path.name, path)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
