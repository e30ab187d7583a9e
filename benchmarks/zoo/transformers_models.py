"""Models of transformers, from small configurations and with their task heads."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import nn

from benchmarks.zoo.entry import Entry, entry

_VOCABULARY = 120
_TOKENS = {"vocab_size": _VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_BODY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_ENCODER = {**_TOKENS, **_BODY, "max_position_embeddings": 64, "num_labels": 3}
_SENTENCE = {**_ENCODER, "eos_token_id": _VOCABULARY - 1}
_DECODER = {**_TOKENS, **_BODY, "max_position_embeddings": 64, "num_key_value_heads": 4, "use_cache": False}
_GROUPED = {**_DECODER, "num_key_value_heads": 2, "head_dim": 16}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
_SEQ2SEQ = {
    **_TOKENS,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 1,
    "use_cache": False,
}
_VISION = {**_BODY, "image_size": 32, "patch_size": 8, "num_labels": 5}
_STAGES = {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 32, "patch_size": 4}
_PYRAMID = {"hidden_sizes": [16, 32], "depths": [1, 2]}
_SPEECH = {
    **_BODY,
    "vocab_size": 32,
    "conv_dim": [16, 16, 32],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _construct(model: str, options: dict) -> nn.Module:
    """Make the model class called ``model`` from a configuration of its own kind."""
    import benchmarks.torchvision_ops  # noqa: F401, I001  (first: transformers imports torchvision)
    import transformers

    kind = getattr(transformers, model)
    return kind(kind.config_class(**deepcopy(options)))


def _ids(*size: int) -> torch.Tensor:
    """Token ids, none of them special."""
    return torch.randint(3, _VOCABULARY, size)


def _text() -> dict:
    """Two sentences of twelve tokens."""
    return {"input_ids": _ids(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.long)}


def _text_pair() -> dict:
    """Text for an encoder and for its decoder."""
    return {**_text(), "decoder_input_ids": _ids(2, 7)}


def _pixels(size: int = 32) -> dict:
    """Two square images."""
    return {"pixel_values": torch.randn(2, 3, size, size)}


def _masked_pixels() -> dict:
    """Two images and the noise that says which of their patches to mask."""
    return {**_pixels(), "noise": torch.rand(2, 16)}


def _pixels_and_text() -> dict:
    """Two images and two sentences, the last token alone being the end of the text."""
    ids = _ids(2, 12).clamp(max=_VOCABULARY - 2)
    ids[:, -1] = _VOCABULARY - 1
    return {"input_ids": ids, **_pixels()}


def _waveform() -> dict:
    """Two stretches of sound."""
    return {"input_values": torch.randn(2, 800)}


def _spectrogram() -> dict:
    """Two log-mel spectrograms and text for the decoder."""
    return {"input_features": torch.randn(2, 16, 40), "decoder_input_ids": _ids(2, 7)}


# (entry, options, inputs); what follows a colon in the entry tells variants of one class apart.
_MODELS: tuple[tuple[str, dict, Callable[[], dict]], ...] = (
    # Text encoders
    ("BertForSequenceClassification", _ENCODER, _text),
    ("RobertaForSequenceClassification", _ENCODER, _text),
    (
        "DistilBertForSequenceClassification",
        {**_TOKENS, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        _text,
    ),
    ("AlbertForSequenceClassification", {**_ENCODER, "embedding_size": 32}, _text),
    ("ElectraForSequenceClassification", {**_ENCODER, "embedding_size": 32}, _text),
    (
        "DebertaV2ForSequenceClassification",
        {**_ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
        _text,
    ),
    ("MPNetForSequenceClassification", _ENCODER, _text),
    ("ModernBertForSequenceClassification", {**_ENCODER, "cls_token_id": 1, "sep_token_id": 2}, _text),
    ("BertForMaskedLM", _ENCODER, _text),
    (
        "PerceiverForSequenceClassification",
        {
            **_ENCODER,
            "d_model": 64,
            "d_latents": 48,
            "num_latents": 8,
            "num_blocks": 1,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 4,
        },
        lambda: {"inputs": _ids(2, 12), "attention_mask": torch.ones(2, 12)},
    ),
    # Text decoders
    (
        "GPT2LMHeadModel",
        {**_TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "use_cache": False},
        _text,
    ),
    ("OPTForCausalLM", {**_DECODER, "ffn_dim": 128, "word_embed_proj_dim": 64}, _text),
    ("GPTNeoXForCausalLM", _DECODER, _text),
    (
        "GPTJForCausalLM",
        {**_TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 8, "use_cache": False},
        _text,
    ),
    ("BloomForCausalLM", {**_TOKENS, "hidden_size": 64, "n_layer": 2, "n_head": 4, "use_cache": False}, _text),
    (
        "MptForCausalLM",
        {**_TOKENS, "d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 64, "use_cache": False},
        _text,
    ),
    ("LlamaForCausalLM", _DECODER, _text),
    ("LlamaForCausalLM:grouped", _GROUPED, _text),
    ("MistralForCausalLM", {**_GROUPED, "sliding_window": 8}, _text),
    ("Qwen2ForCausalLM", _GROUPED, _text),
    ("Qwen3ForCausalLM", _GROUPED, _text),
    ("GemmaForCausalLM", {**_GROUPED, "num_key_value_heads": 1}, _text),
    ("Gemma2ForCausalLM", {**_GROUPED, "sliding_window": 8}, _text),
    (
        "Gemma3ForCausalLM",
        {**_GROUPED, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
        _text,
    ),
    ("PhiForCausalLM", _DECODER, _text),
    ("Phi3ForCausalLM", {**_DECODER, "num_key_value_heads": 2}, _text),
    ("FalconForCausalLM", {**_DECODER, "multi_query": True, "parallel_attn": True}, _text),
    ("OlmoForCausalLM", _DECODER, _text),
    ("CohereForCausalLM", _GROUPED, _text),
    ("StableLmForCausalLM", _GROUPED, _text),
    ("MixtralForCausalLM", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}, _text),
    ("Qwen3MoeForCausalLM", {**_GROUPED, **_EXPERTS, "num_experts": 4}, _text),
    (
        "MambaForCausalLM",
        {**_TOKENS, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, "use_cache": False},
        _text,
    ),
    # Encoders with decoders
    (
        "T5ForConditionalGeneration",
        {**_TOKENS, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "use_cache": False},
        _text_pair,
    ),
    ("BartForConditionalGeneration", _SEQ2SEQ, _text_pair),
    ("MarianMTModel", _SEQ2SEQ, _text_pair),
    (
        "WhisperForConditionalGeneration",
        {**_SEQ2SEQ, "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 20},
        _spectrogram,
    ),
    # Vision
    ("ViTForImageClassification", _VISION, _pixels),
    ("DeiTForImageClassification", _VISION, _pixels),
    ("BeitForImageClassification", {**_VISION, "use_relative_position_bias": True}, _pixels),
    ("Dinov2ForImageClassification", {**_VISION, "mlp_ratio": 2}, _pixels),
    ("SwinForImageClassification", {**_STAGES, "num_labels": 5}, _pixels),
    ("Swinv2ForImageClassification", {**_STAGES, "num_labels": 5}, _pixels),
    ("ConvNextForImageClassification", {**_PYRAMID, "num_stages": 2, "num_labels": 5}, _pixels),
    ("ResNetForImageClassification", {**_PYRAMID, "embedding_size": 16, "num_labels": 5}, _pixels),
    (
        "SegformerForSemanticSegmentation",
        {
            "num_encoder_blocks": 2,
            "depths": [1, 2],
            "sr_ratios": [2, 1],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 32,
            "num_labels": 5,
        },
        _pixels,
    ),
    (
        "DetrForObjectDetection",
        {
            **{key: value for key, value in _SEQ2SEQ.items() if key not in _TOKENS},
            "num_queries": 6,
            "num_labels": 5,
            "use_timm_backbone": False,
            "use_pretrained_backbone": False,
            "backbone_config": {"model_type": "resnet", "out_features": ["stage2"], "embedding_size": 16, **_PYRAMID},
        },
        partial(_pixels, 64),
    ),
    ("ViTMAEForPreTraining", {**_VISION, "decoder_hidden_size": 32, "decoder_num_hidden_layers": 1}, _masked_pixels),
    # Text and images, and sound
    ("CLIPModel", {"text_config": _SENTENCE, "vision_config": _VISION, "projection_dim": 32}, _pixels_and_text),
    ("SiglipModel", {"text_config": _SENTENCE, "vision_config": _VISION}, _pixels_and_text),
    ("Wav2Vec2ForCTC", _SPEECH, _waveform),
    ("HubertForCTC", _SPEECH, _waveform),
)

ENTRIES: list[Entry] = [
    entry(name, "transformers", partial(_construct, name.split(":")[0], options), inputs)
    for name, options, inputs in _MODELS
]
