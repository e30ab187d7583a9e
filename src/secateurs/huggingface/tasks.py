"""The task of a transformers model, derived from the name of the model's class."""

from __future__ import annotations

from typing import Literal

Task = Literal["causal", "masked", "seq2seq", "classification", "features"]
"""What a model predicts: the next token (causal), masked tokens (masked), a second text from a first one (seq2seq), or
the class of a text (classification). A model with any other head, or with none, has the task "features"."""

ENDINGS: dict[str, Task] = {
    "ForSequenceClassification": "classification",
    "ForMaskedLM": "masked",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
}


def task_of(architecture: str, encoder_decoder: bool = False) -> Task:
    """Determine the task of a model from the name of the model's class.

    Args:
        architecture: name of a class that follows the conventions of transformers, such as "LlamaForCausalLM".
        encoder_decoder: value of `is_encoder_decoder` in the configuration.
    """
    if encoder_decoder and architecture.endswith(("ForConditionalGeneration", "MTModel")):
        return "seq2seq"
    for ending, task in ENDINGS.items():
        if architecture.endswith(ending):
            return task
    return "features"
