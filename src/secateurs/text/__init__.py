"""Text as data: files or lists of it, tokenised, in sequences of one length or padded batch by batch."""

from secateurs.text.data import TextOptions, read_text_dataset, text_data
from secateurs.text.files import FORMATS
from secateurs.text.sequences import Windows, loader

__all__ = ["FORMATS", "TextOptions", "Windows", "loader", "read_text_dataset", "text_data"]
