"""What the decoder of an encoder–decoder is fed where only labels are given: the model makes it of those itself."""

from __future__ import annotations

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.huggingface.text import IGNORE_INDEX

DECODER_INPUTS = ("decoder_input_ids", "decoder_inputs_embeds")


def add_decoder_inputs(model: nn.Module, call: Call) -> Call:
    """The same call with the decoder's inputs, made as the model makes them, and with a mask of what is padding there.

    What follows the last label that counts is padding. The model computes the same at all other positions, since a
    decoder looks only back.

    Args:
        model: of transformers; calls of other models, and those that say what the decoder is fed, stay as they are.
        call: of the model.
    """
    shifted = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    labels = call.kwargs.get("labels")
    given = any(call.kwargs.get(name) is not None for name in DECODER_INPUTS)
    if shifted is None or given or not isinstance(labels, Tensor) or labels.ndim != 2:
        return call
    counted = labels.ne(IGNORE_INDEX).long().flip(1).cummax(1).values.flip(1)
    made = {"decoder_input_ids": shifted(labels), "decoder_attention_mask": counted}
    return Call(call.args, {**made, **{name: value for name, value in call.kwargs.items() if value is not None}})
