"""What a transformer was made to do, as the name of its class says."""

from __future__ import annotations

from typing import Literal

Task = Literal["causal", "masked", "seq2seq", "classification", "features"]
"""A causal model predicts the next token, a masked one those that are hidden, seq2seq a second text from the first,
classification a class from a text; "features" is whatever has no such head."""

ENDINGS: dict[str, Task] = {
    "ForSequenceClassification": "classification",
    "ForMaskedLM": "masked",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
}


def task_of(architecture: str, encoder_decoder: bool = False) -> Task:
    """The task of a class of the transformers library, or of one that is named as they are.

    Args:
        architecture: the name of the class, such as "LlamaForCausalLM".
        encoder_decoder: what the configuration says under `is_encoder_decoder`.
    """
    if encoder_decoder and architecture.endswith(("ForConditionalGeneration", "MTModel")):
        return "seq2seq"
    for ending, task in ENDINGS.items():
        if architecture.endswith(ending):
            return task
    return "features"
