"""Text data: files or lists of texts, tokenised into sequences of one length or padded batch by batch."""

from secateurs.huggingface.text.data import TextOptions, read_text_dataset, text_data
from secateurs.huggingface.text.files import FORMATS
from secateurs.huggingface.text.sequences import IGNORE_INDEX, Windows, loader

__all__ = ["FORMATS", "IGNORE_INDEX", "TextOptions", "Windows", "loader", "read_text_dataset", "text_data"]
