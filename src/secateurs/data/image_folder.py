"""Image folders as data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch.utils.data import Dataset

from secateurs.errors import DataError
from secateurs.utils import require

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}


@dataclass(frozen=True)
class ImageOptions:
    """Preprocessing of the images of a folder.

    Like `Recovery`, it converts to JSON and back with pydantic, which refuses unknown keys.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    size: Annotated[
        int | None, Field(description="Resize images to size × size pixels; None keeps them, if all have one size.")
    ] = None
    mean: Annotated[
        tuple[float, ...], Field(description="Subtracted from pixels in [0, 1]: one value, or one per channel.")
    ] = (0.0,)
    std: Annotated[
        tuple[float, ...], Field(description="Pixels are divided by this: one value, or one per channel.")
    ] = (1.0,)


class ImageFolder(Dataset[Any]):
    """The images of a folder, or of one subfolder per class, in alphabetical order.

    A sample is (image,) or, with subfolders, (image, class number). An image is float32 [3, height, width].

    Args:
        root: the folder.
        options: size and normalisation of the images.

    Raises:
        DataError: the folder does not exist or has no images, or the options are invalid. Reading a sample raises it
            for an unreadable image, and for an image of another size than the first if `options.size` is None.
    """

    def __init__(self, root: Path, options: ImageOptions):
        if not root.is_dir():
            raise DataError(f"the image folder {root} does not exist")
        self.classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        folders = [root / name for name in self.classes] or [root]
        self.items = [
            (path, number if self.classes else None)
            for number, folder in enumerate(folders)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in IMAGES
        ]
        if not self.items:
            raise DataError(f"the image folder {root} contains no images ({', '.join(sorted(IMAGES))})")
        if len(options.mean) not in (1, 3) or len(options.std) not in (1, 3) or 0 in options.std:
            raise DataError(
                f"mean and std must have 1 or 3 values each, and std no 0, not mean={options.mean} std={options.std}"
            )
        if options.size is not None and options.size < 1:
            raise DataError(f"the image size must be at least 1 pixel, not {options.size}")
        self.options = options
        self.shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        require("PIL", "images")
        from PIL import Image, UnidentifiedImageError

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
            raise DataError(
                f"{path} has size {pixels.shape[:2]}, other images have {self.shape[:2]}: set one size (--image-size)"
            )
        x = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (self.options.mean, self.options.std))
        x = (x - mean) / std
        return (x,) if label is None else (x, label)
