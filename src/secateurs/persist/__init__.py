"""Saving pruned models, and loading them back exactly, without pickle.

A saved model is a directory: `manifest.json` (what it is, and a digest of every file), `plan.json`, and
`model.safetensors`.  A model of transformers whose class can express the widths is also saved as that library does.
"""

from secateurs.persist.load import load
from secateurs.persist.manifest import PLAN, WEIGHTS, Manifest, read_manifest
from secateurs.persist.save import check_free, model_directory, save
from secateurs.persist.save_pretrained import save_pretrained, write_pretrained

__all__ = [
    "PLAN",
    "WEIGHTS",
    "Manifest",
    "check_free",
    "load",
    "read_manifest",
    "save",
    "save_pretrained",
    "write_pretrained",
    "model_directory",
]
