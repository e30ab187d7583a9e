"""Read the data that a spec names, such as "npz:PATH"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import Dataset

from secateurs.data import ImageOptions
from secateurs.errors import DataError
from secateurs.experiments.specs.registry import DATA_SPECS, DataOptions, ReadData, Spec
from secateurs.huggingface.text import TextOptions, loader


def read_data(
    spec: str,
    shape: tuple[int, ...] | None = None,
    batch_size: int = 64,
    images: ImageOptions | None = None,
    seed: int = 0,
    text: TextOptions | None = None,
    overlap: bool = False,
) -> Iterable[Any]:
    """Read the data that a spec names, in batches.

    Args:
        spec: one of the forms in `DATA_SPECS`, such as "npz:PATH", "folder:PATH" or "random:64".
        shape: the shape of one generated input, without the batch dimension.
        batch_size: samples per batch.
        images: options of the conversion of images in a folder to inputs.
        seed: the seed of generated inputs.
        text: options of the conversion of text to sequences of tokens.
        overlap: whether the sequences of tokens overlap; see `secateurs.text_data`.

    Raises:
        DataError: the spec has no known form, or the data cannot be read.
    """
    known, argument = _find(spec)
    options = DataOptions(shape, batch_size, seed, images or ImageOptions(), text or TextOptions(), overlap)
    data: Any = known.read(argument, options)
    return data if known.generated else loader(data, batch_size)


def read_dataset(
    spec: str, images: ImageOptions | None = None, text: TextOptions | None = None, overlap: bool = False
) -> Dataset[Any]:
    """Read the data that a spec names, sample by sample.

    Args:
        spec: one of the forms in `DATA_SPECS` that are not generated, such as "npz:PATH" or "text:PATH".
        images: options of the conversion of images in a folder to inputs.
        text: options of the conversion of text to sequences of tokens.
        overlap: whether the sequences of tokens overlap; see `secateurs.text_data`.

    Raises:
        DataError: the spec has no known form, names generated inputs, or the data cannot be read.
    """
    known, argument = _find(spec)
    if known.generated:
        raise DataError(f"data {spec!r} is generated batch by batch and has no labels: give a file or a folder")
    data: Any = known.read(
        argument, DataOptions(images=images or ImageOptions(), text=text or TextOptions(), overlap=overlap)
    )
    return data


def is_random(spec: str) -> bool:
    """Whether a spec names generated inputs, which have no labels and cannot be used for training."""
    known = DATA_SPECS.get(spec.partition(":")[0])
    return known is not None and known.generated


def _find(spec: str) -> tuple[Spec[ReadData], str]:
    """The entry of the registry and the text after the colon."""
    prefix, _, argument = spec.partition(":")
    if prefix not in DATA_SPECS:
        raise DataError(f"data {spec!r} has none of the forms {', '.join(known.form for known in DATA_SPECS.values())}")
    return DATA_SPECS[prefix], argument
