"""All that knows transformers: loading, tasks, text as data, decoder inputs."""

from secateurs.huggingface.decoder_inputs import add_decoder_inputs
from secateurs.huggingface.pretrained import Pretrained, without_bars
from secateurs.huggingface.tasks import task_of

__all__ = ["Pretrained", "add_decoder_inputs", "task_of", "without_bars"]
