"""Inputs of the decoder of an encoder–decoder model that is called with labels only."""

from __future__ import annotations

from torch import Tensor, nn

from secateurs.data import Call
from secateurs.huggingface.text import IGNORE_INDEX

DECODER_INPUTS = ("decoder_input_ids", "decoder_inputs_embeds")


def add_decoder_inputs(model: nn.Module, call: Call) -> Call:
    """Add the decoder's input tokens and attention mask to a call that has labels but no decoder inputs.

    The model would derive the same input tokens from the labels. The mask is 0 after the last label that is not −100.
    It does not change the outputs at other positions, because a decoder attends to earlier positions only.

    Args:
        model: any model. Only calls of an encoder–decoder model of transformers are changed.
        call: the arguments of the model. A call with decoder inputs is returned unchanged.

    Returns:
        The call with `decoder_input_ids` and `decoder_attention_mask` [samples, tokens].
    """
    shift_labels = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    labels = call.kwargs.get("labels")
    given = any(call.kwargs.get(name) is not None for name in DECODER_INPUTS)
    if shift_labels is None or given or not isinstance(labels, Tensor) or labels.ndim != 2:
        return call
    mask = labels.ne(IGNORE_INDEX).long().flip(1).cummax(1).values.flip(1)
    added = {"decoder_input_ids": shift_labels(labels), "decoder_attention_mask": mask}
    return Call(call.args, {**added, **{name: value for name, value in call.kwargs.items() if value is not None}})
