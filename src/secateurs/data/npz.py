"""NumPy archives (`.npz`) as data sets."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from secateurs.errors import DataError

INPUT_NAMES, TARGET_NAMES = ("x", "inputs", "images", "data"), ("y", "targets", "labels")


def read_npz(path: Path) -> TensorDataset:
    """Read the inputs and, if present, the targets of a NumPy archive.

    Args:
        path: an `.npz` file. The array of inputs is called x, inputs, images or data; the array of targets y, targets
            or labels.

    Returns:
        A data set of (inputs,) or (inputs, targets). uint8 inputs are scaled to [0, 1]; floating-point arrays become
        float32; targets of other types become int64.

    Raises:
        DataError: the file cannot be read, has no array of inputs, or inputs and targets differ in length.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: _native(archive[name]) for name in archive.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz file: {error}") from error
    inputs = next((arrays[name] for name in INPUT_NAMES if name in arrays), None)
    targets = next((arrays[name] for name in TARGET_NAMES if name in arrays), None)
    if inputs is None:
        raise DataError(f"{path} has the arrays {sorted(arrays)}: name the inputs {' or '.join(INPUT_NAMES)}")
    if inputs.ndim == 0 or (targets is not None and targets.shape[:1] != inputs.shape[:1]):
        shape = None if targets is None else list(targets.shape)
        raise DataError(f"{path} has inputs of shape {list(inputs.shape)} but targets of shape {shape}")
    x = torch.from_numpy(inputs)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float() if x.is_floating_point() else x
    return TensorDataset(x) if targets is None else TensorDataset(x, _targets(targets))


def _native(array: np.ndarray) -> np.ndarray:
    """Convert the array to the byte order of this machine, which torch requires."""
    return array.astype(array.dtype.newbyteorder("="))


def _targets(values: np.ndarray) -> Tensor:
    """Convert targets to float32 or int64."""
    y = torch.from_numpy(values)
    return y.float() if y.is_floating_point() else y.long()
