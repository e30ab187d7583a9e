"""Export to a directory of the transformers library."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateurs.data import Call
from secateurs.persist.export import export_format
from secateurs.persist.save_pretrained import write_pretrained


@export_format("huggingface")
def write_huggingface(model: nn.Module, call: Call, path: Path) -> None:
    """A directory for `from_pretrained` of the model's class. The configuration must describe all widths."""
    write_pretrained(path, model, call)  # also verifies weights and outputs
