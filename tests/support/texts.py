"""Random sentences, padded batches, and small transformers models."""

from functools import partial
from itertools import combinations

import torch

_SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 24, "vocab_size": 40, "pad_token_id": 0}
_GROUPED = {**_SIZES, "num_attention_heads": 8, "num_key_value_heads": 4, "use_cache": False}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 4, "vocab_size": 40, "use_cache": False}
_GPT = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_inner": 24, "vocab_size": 40, "n_positions": 32, "use_cache": False}

MODELS = {
    "bert": ("BertForSequenceClassification", {**_SIZES, "num_attention_heads": 4}),
    "gpt2": ("GPT2LMHeadModel", _GPT),
    "llama": ("LlamaForCausalLM", _GROUPED),
    "opt": ("OPTForCausalLM", {**_SIZES, "num_attention_heads": 4, "ffn_dim": 24, "word_embed_proj_dim": 32}),
    "neox": ("GPTNeoXForCausalLM", {**_SIZES, "num_attention_heads": 4, "use_cache": False}),
    "t5": ("T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 1}),
    "mixtral": ("MixtralForCausalLM", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "vit": ("ViTForImageClassification", {**_SIZES, "num_attention_heads": 4, "image_size": 12, "patch_size": 4}),
}


def transformer(name, **options):
    """Make one of `MODELS` in evaluation mode, with weights large enough that units differ."""
    import benchmarks.torchvision_ops  # noqa: F401, I001  (first: transformers imports torchvision)
    import transformers

    kind, sizes = MODELS[name]
    kind = getattr(transformers, kind)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = kind(kind.config_class(**{**special, **sizes, **options})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return model


def sentences(lengths, seed=1, vocabulary=40):
    """Make random sentences without special tokens: one tensor [1, length] per sentence."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (1, n), generator=generator) for n in lengths]


def batch_of(texts, size, left=False, **others):
    """Pad sentences to one size, with the attention mask."""
    ids, mask = torch.zeros(len(texts), size, dtype=torch.long), torch.zeros(len(texts), size, dtype=torch.long)
    for i, text in enumerate(texts):
        part = slice(size - text.shape[1], size) if left else slice(0, text.shape[1])
        ids[i, part], mask[i, part] = text[0], 1
    return {"input_ids": ids, "attention_mask": mask, **others}


def labelled(name, texts, size):
    """Make a batch for one of `MODELS`, with the labels that the loss of the model needs."""
    draw = partial(torch.randint, generator=torch.Generator().manual_seed(2))
    if name == "vit":
        pixels = torch.randn(len(texts), 3, 12, 12, generator=torch.Generator().manual_seed(2))
        return {"pixel_values": pixels, "labels": draw(2, (len(texts),))}
    batch = batch_of(texts, size)
    if name == "bert":
        return {**batch, "labels": draw(2, (len(texts),))}
    if name == "t5":
        return {**batch, "labels": draw(3, 40, (len(texts), 4))}
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}


def split(batch, *sizes):
    """Split a batch, a dict of tensors, into batches of the given sizes."""
    parts = {name: tensor.split(list(sizes)) for name, tensor in batch.items()}
    return [dict(zip(parts, tensors, strict=True)) for tensors in zip(*parts.values(), strict=True)]


def nexp_by_pairs(samples):
    """Reference of NEXP: the fraction of positions where two samples fire differently, over all pairs of samples.

    Args:
        samples: activations [1, units, positions, features] of each sample. Only common positions are compared.
    """
    differ, common = 0, 0
    for one, other in combinations(samples, 2):
        n = min(one.shape[2], other.shape[2])
        a, b = one[0, :, :n].flatten(1) > 0, other[0, :, :n].flatten(1) > 0
        differ, common = differ + (a != b).sum(1), common + a.shape[1]
    return (differ / common).double()
