"""The model zoo, as data: library models and small shapes with example inputs.

Importing it imports no model library; the builders do.
"""

from __future__ import annotations

from benchmarks.zoo import shapes, timm_models, torchvision_models, transformers_models
from benchmarks.zoo.entry import Entry

ENTRIES: list[Entry] = [
    *shapes.ENTRIES,
    *torchvision_models.ENTRIES,
    *timm_models.ENTRIES,
    *transformers_models.ENTRIES,
]
BY_NAME: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
if len(BY_NAME) != len(ENTRIES):
    raise ValueError("two entries of the zoo share a name")

__all__ = ["BY_NAME", "ENTRIES", "Entry"]
