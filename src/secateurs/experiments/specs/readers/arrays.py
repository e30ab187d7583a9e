"""npz:PATH: NumPy arrays in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from secateurs.data import read_npz
from secateurs.experiments.specs.registry import DataOptions, data_spec


@data_spec("npz", "npz:PATH")
def read_arrays(argument: str, _: DataOptions) -> Dataset[Any]:
    """Arrays x and, if there are targets, y of an npz file; uint8 is scaled to [0, 1]."""
    return read_npz(Path(argument))
