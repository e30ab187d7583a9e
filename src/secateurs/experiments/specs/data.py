"""Data as the command line names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from secateurs.data import ImageFolder, ImageOptions, random_inputs, read_npz
from secateurs.errors import DataError
from secateurs.experiments.digits import Digits
from secateurs.experiments.specs.names import DIGITS
from secateurs.huggingface.text import FORMATS, TextOptions, loader, read_text_dataset


def read_data(
    spec: str,
    shape: tuple[int, ...] | None = None,
    batch_size: int = 64,
    images: ImageOptions | None = None,
    seed: int = 0,
    text: TextOptions | None = None,
    overlap: bool = False,
) -> Iterable[Any]:
    """The data named by `spec`, in batches.

    Args:
        spec: as for `read_dataset`, or "random:N" (N standard normal inputs).
        shape: of one input; only for random inputs.
        batch_size: samples per batch.
        images: how images of a folder become inputs.
        seed: of random inputs.
        text: how text of files becomes sequences of tokens.
        overlap: of these sequences; see `secateurs.text_data`.

    Raises:
        DataError: the spec or what it names is not usable.
    """
    if not is_random(spec):
        return loader(read_dataset(spec, images, text, overlap), batch_size)
    number = spec.partition(":")[2]
    if not number.isdigit() or shape is None:
        raise DataError(f"data {spec!r}: give the number of inputs as in random:64, and their shape (--input)")
    return random_inputs(shape, int(number), batch_size, seed)


def is_random(spec: str) -> bool:
    """Whether this names random inputs, which serve some criteria but not training."""
    return spec.partition(":")[0] == "random"


def read_dataset(
    spec: str, images: ImageOptions | None = None, text: TextOptions | None = None, overlap: bool = False
) -> Dataset[Any]:
    """The data named by `spec`, sample by sample.

    Args:
        spec: "npz:PATH" (arrays x and, if there are targets, y; uint8 is scaled to [0, 1]), "folder:PATH" (images, or
            one folder of images per class), "text:PATH" (plain text), "jsonl:PATH" (a field `text` in each line, and
            perhaps `label`), "tsv:PATH" (a text, a tab and a label in each line), "digits" or "digits:test" (the
            demo's images).
        images: how images of a folder become inputs.
        text: how text becomes sequences of tokens.
        overlap: of these sequences; see `secateurs.text_data`.

    Raises:
        DataError: the spec or what it names is not usable.
    """
    kind, _, rest = spec.partition(":")
    if kind == "npz":
        return read_npz(Path(rest))
    if kind == "folder":
        return ImageFolder(Path(rest), images or ImageOptions())
    if kind == DIGITS and rest in ("", "test"):
        return Digits.load().test if rest else Digits.load().train
    if kind in FORMATS:
        return read_text_dataset(kind, Path(rest), text or TextOptions(), overlap)
    files = ", ".join(f"{name}:PATH" for name in ("npz", "folder", *FORMATS))
    raise DataError(f"data {spec!r} is not one of {files}, random:N, digits, digits:test")
