"""folder:PATH: images in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from secateurs.data import ImageFolder
from secateurs.experiments.specs.registry import DataOptions, data_spec


@data_spec("folder", "folder:PATH")
def read_folder(argument: str, options: DataOptions) -> Dataset[Any]:
    """Images of a folder, or of one folder per class."""
    return ImageFolder(Path(argument), options.images)
