"""Saving pruned models, and loading them back exactly, without pickle.

A saved model is a directory: `manifest.json` (what it is, and a digest of every file), `plan.json`, and
`model.safetensors`.  A model of transformers whose class can express the widths is also saved as that library does.
"""

from secateurs.persist.manifest import PLAN, WEIGHTS, Manifest, read_manifest
from secateurs.persist.pretrained import save_pretrained, write_pretrained
from secateurs.persist.read import load
from secateurs.persist.write import check_free, save

__all__ = [
    "PLAN", "WEIGHTS", "Manifest", "check_free", "load", "read_manifest", "save", "save_pretrained", "write_pretrained",
]  # fmt: skip
