"""Data: calls and batches, losses, random inputs, image folders, NumPy archives, and shards of several processes."""

from secateurs.data.batch import Batch, batches, first_batch
from secateurs.data.cache import cache_batches
from secateurs.data.call import Call, as_call
from secateurs.data.collectives import (
    check_ranks_agree,
    check_same_weights,
    errors_on_all_ranks,
    first_rank_data,
    gather_ranks,
    sum_over_ranks,
)
from secateurs.data.image_folder import ImageFolder, ImageOptions
from secateurs.data.loss import Loss, logits_of, loss_of
from secateurs.data.npz import read_npz
from secateurs.data.random_inputs import random_inputs
from secateurs.data.shard import Shard, map_data, shard

__all__ = [
    "Batch",
    "Call",
    "ImageFolder",
    "ImageOptions",
    "Loss",
    "Shard",
    "check_ranks_agree",
    "check_same_weights",
    "as_call",
    "batches",
    "first_batch",
    "gather_ranks",
    "cache_batches",
    "first_rank_data",
    "logits_of",
    "loss_of",
    "random_inputs",
    "read_npz",
    "shard",
    "map_data",
    "sum_over_ranks",
    "errors_on_all_ranks",
]
