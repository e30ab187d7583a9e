"""Models and data as the command line names them."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from secateurs.demo import Digits, DigitsNet, train
from secateurs.errors import DataError, ModelError
from secateurs.inputs import random_inputs

DIGITS = "digits"
IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}
INPUT_NAMES, TARGET_NAMES = ("x", "inputs", "images", "data"), ("y", "targets", "labels")


def function(spec: str, what: str = "model") -> Callable[..., Any]:
    """The function named by "py:path/to/file.py:name". The file is run as Python code.

    Args:
        spec: names it.
        what: it is for, for messages.

    Raises:
        ModelError: the spec, the file or the function is not usable.
    """
    kind, _, rest = spec.partition(":")
    path, _, name = rest.rpartition(":")
    if kind != "py" or not path or not name:
        raise ModelError(f"{what} {spec!r} is not of the form py:path/to/file.py:function")
    if not Path(path).is_file():
        raise ModelError(f"{what} {spec!r}: there is no file {path}")
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:  # so that the file may import its neighbours, as if it were run
        sys.path.insert(0, folder)
    try:
        module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
        module = importlib.util.module_from_spec(module_spec)  # type: ignore[arg-type]
        sys.modules.setdefault(Path(path).stem, module)  # dataclasses look their module up
        module_spec.loader.exec_module(module)  # type: ignore[union-attr]
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what} {spec!r}: {path} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ModelError(f"{what} {spec!r}: {path} has no function or class {name!r}")
    return found


def build(spec: str, weights: str = "") -> nn.Module:
    """The model named by `spec`.

    Args:
        spec: "py:path/to/file.py:factory", a function that is called with nothing and returns a module; or "digits",
            the demo's network, which is trained on the spot (seconds) unless there are weights for it.
        weights: a safetensors file for all of its parameters and buffers; by default the factory's own.

    Raises:
        ModelError: the factory fails or returns something else than a module, or the weights do not fit.
    """
    if spec == DIGITS:
        model = DigitsNet() if weights else train(Digits.load())
    else:
        try:
            model = function(spec)()
        except ModelError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"model {spec!r}: the factory failed: {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise ModelError(f"model {spec!r}: the factory returned a {type(model).__name__}, not a torch.nn.Module")
    if weights:
        try:
            safetensors.torch.load_model(model, weights)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"the weights {weights} do not fit model {spec!r}: {error}") from error
    return model.eval()


@dataclass(frozen=True)
class ImageOptions:
    """How images of a folder become inputs.

    Attributes:
        size: they are resized to size × size; None if they all have one size already.
        mean, std: per channel, of values in [0, 1].
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def read_data(
    spec: str,
    shape: tuple[int, ...] | None = None,
    batch_size: int = 64,
    images: ImageOptions | None = None,
    seed: int = 0,
) -> Iterable[Any]:
    """The data named by `spec`, in batches.

    Args:
        spec: as for `read_dataset`, or "random:N" (N standard normal inputs).
        shape: of one input; only for random inputs.
        batch_size: samples per batch.
        images: how images of a folder become inputs.
        seed: of random inputs.

    Raises:
        DataError: the spec or what it names is not usable.
    """
    if not is_random(spec):
        return DataLoader(read_dataset(spec, images), batch_size)
    number = spec.partition(":")[2]
    if not number.isdigit() or shape is None:
        raise DataError(f"data {spec!r}: give the number of inputs as in random:64, and their shape (--input)")
    return random_inputs(shape, int(number), batch_size, seed)


def is_random(spec: str) -> bool:
    """Whether this names random inputs, which serve some criteria but not training."""
    return spec.partition(":")[0] == "random"


def read_dataset(spec: str, images: ImageOptions | None = None) -> Dataset[Any]:
    """The data named by `spec`, sample by sample.

    Args:
        spec: "npz:PATH" (arrays x and, if there are targets, y; uint8 is scaled to [0, 1]), "folder:PATH" (images, or
            one folder of images per class), "digits" or "digits:test" (the demo's images).
        images: how images of a folder become inputs.

    Raises:
        DataError: the spec or what it names is not usable.
    """
    kind, _, rest = spec.partition(":")
    if kind == "npz":
        return _read_npz(Path(rest))
    if kind == "folder":
        return ImageFolder(Path(rest), images or ImageOptions())
    if kind == DIGITS and rest in ("", "test"):
        return Digits.load().test if rest else Digits.load().train
    raise DataError(f"data {spec!r} is not one of npz:PATH, folder:PATH, random:N, digits, digits:test")


class ImageFolder(Dataset[Any]):
    """Images of a folder, or of one folder per class, in alphabetical order, as float32 [3, height, width]."""

    def __init__(self, root: Path, options: ImageOptions):
        if not root.is_dir():
            raise DataError(f"there is no folder {root}")
        self.classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        folders = [root / name for name in self.classes] or [root]
        self.items = [
            (path, number if self.classes else None)
            for number, folder in enumerate(folders)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in IMAGES
        ]
        if not self.items:
            raise DataError(f"folder {root} holds no images ({', '.join(sorted(IMAGES))})")
        if len(options.mean) not in (1, 3) or len(options.std) not in (1, 3) or 0 in options.std:
            raise DataError(f"give 1 or 3 values of mean and of std (not 0), not {options.mean} and {options.std}")
        if options.size is not None and options.size < 1:
            raise DataError(f"images cannot be resized to {options.size}")
        self.options = options
        self.shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        path, label = self.items[index]
        try:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
                size = self.options.size
                pixels = np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR) if size else rgb)
        except (OSError, UnidentifiedImageError) as error:
            raise DataError(f"{path} is not a readable image: {error}") from error
        self.shape = self.shape or pixels.shape
        if pixels.shape != self.shape:
            raise DataError(f"{path} is {pixels.shape[:2]}, others are {self.shape[:2]}: give one size (--image-size)")
        x = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (self.options.mean, self.options.std))
        x = (x - mean) / std
        return (x,) if label is None else (x, label)


def _read_npz(path: Path) -> TensorDataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: _native(archive[name]) for name in archive.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz file: {error}") from error
    inputs = next((arrays[name] for name in INPUT_NAMES if name in arrays), None)
    targets = next((arrays[name] for name in TARGET_NAMES if name in arrays), None)
    if inputs is None:
        raise DataError(f"{path} has arrays {sorted(arrays)}; name the inputs {' or '.join(INPUT_NAMES)}")
    if inputs.ndim == 0 or (targets is not None and targets.shape[:1] != inputs.shape[:1]):
        shape = None if targets is None else list(targets.shape)
        raise DataError(f"{path} has inputs of shape {list(inputs.shape)} but targets of shape {shape}")
    x = torch.from_numpy(inputs)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float() if x.is_floating_point() else x
    return TensorDataset(x) if targets is None else TensorDataset(x, _targets(targets))


def _native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, which torch wants."""
    return array.astype(array.dtype.newbyteorder("="))


def _targets(values: np.ndarray) -> Tensor:
    y = torch.from_numpy(values)
    return y.float() if y.is_floating_point() else y.long()
