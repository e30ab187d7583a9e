"""All that knows transformers: loading, tasks, text as data, decoder inputs."""

from secateurs.huggingface.decoder_inputs import fed
from secateurs.huggingface.pretrained import Pretrained, without_bars
from secateurs.huggingface.tasks import task_of

__all__ = ["Pretrained", "fed", "task_of", "without_bars"]
