"""Calls and batches, losses, random inputs, image folders, arrays, shards."""

from secateurs.data.batch import Batch, batches, first_batch
from secateurs.data.cache import held
from secateurs.data.call import Call, as_call
from secateurs.data.collectives import agree, agree_on_weights, gathered, leading, summed, together
from secateurs.data.image_folder import ImageFolder, ImageOptions
from secateurs.data.loss import Loss, logits_of, loss_of
from secateurs.data.npz import read_npz
from secateurs.data.random_inputs import random_inputs
from secateurs.data.shard import Shard, shard, spread

__all__ = [
    "Batch",
    "Call",
    "ImageFolder",
    "ImageOptions",
    "Loss",
    "Shard",
    "agree",
    "agree_on_weights",
    "as_call",
    "batches",
    "first_batch",
    "gathered",
    "held",
    "leading",
    "logits_of",
    "loss_of",
    "random_inputs",
    "read_npz",
    "shard",
    "spread",
    "summed",
    "together",
]
