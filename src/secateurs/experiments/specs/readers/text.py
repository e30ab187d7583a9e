"""text:PATH, jsonl:PATH and tsv:PATH: files of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from secateurs.experiments.specs.registry import DataOptions, data_spec
from secateurs.huggingface.text import read_text_dataset


@data_spec("text", "text:PATH")
def read_plain(argument: str, options: DataOptions) -> Dataset[Any]:
    """A file of plain text."""
    return read_text_dataset("text", Path(argument), options.text, options.overlap)


@data_spec("jsonl", "jsonl:PATH")
def read_json_lines(argument: str, options: DataOptions) -> Dataset[Any]:
    """A file with a JSON object in each line: a field `text`, and `label` in every line or in none."""
    return read_text_dataset("jsonl", Path(argument), options.text, options.overlap)


@data_spec("tsv", "tsv:PATH")
def read_columns(argument: str, options: DataOptions) -> Dataset[Any]:
    """A file with a text, a tab and a label in each line."""
    return read_text_dataset("tsv", Path(argument), options.text, options.overlap)
