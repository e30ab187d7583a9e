"""Saving, loading and exporting of pruned models, without pickle.

A saved model is a directory with three files: `manifest.json` (a description of the model and a digest of every file),
`plan.json` and `model.safetensors`. A transformers model can also be saved for `from_pretrained` if the configuration
can describe all widths.
"""

from secateurs.persist.export import ExportFormat, export, export_format, temporary_export_formats
from secateurs.persist.formats import EXPORT_FORMATS
from secateurs.persist.load import load
from secateurs.persist.manifest import PLAN, WEIGHTS, Manifest, digest, read_manifest
from secateurs.persist.save import check_free, model_directory, save
from secateurs.persist.save_pretrained import save_pretrained, write_pretrained

__all__ = [
    "EXPORT_FORMATS",
    "PLAN",
    "WEIGHTS",
    "ExportFormat",
    "Manifest",
    "check_free",
    "digest",
    "export",
    "export_format",
    "load",
    "read_manifest",
    "save",
    "save_pretrained",
    "temporary_export_formats",
    "write_pretrained",
    "model_directory",
]
