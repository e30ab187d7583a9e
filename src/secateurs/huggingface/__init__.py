"""Support for the transformers library: loading models, tasks, text data, decoder inputs."""

from secateurs.huggingface.decoder_inputs import add_decoder_inputs
from secateurs.huggingface.hub import without_bars
from secateurs.huggingface.pretrained import Pretrained
from secateurs.huggingface.tasks import task_of

__all__ = ["Pretrained", "add_decoder_inputs", "task_of", "without_bars"]
