"""Small transformers models and a matching word tokenizer, for tests of text data."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

if not importlib.util.find_spec("transformers"):
    pytest.skip("transformers is not installed: pip install secateurs[hf]", allow_module_level=True)

import benchmarks.torchvision_ops  # noqa: F401, I001  (first: transformers imports torchvision)
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = "the a cat dog bird fish sees hears likes eats red blue big small and never always one two".split()
SPECIAL = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[EOS]", "mask_token": "[MASK]"}
VOCABULARY = [*SPECIAL.values(), *WORDS]
IDS = {"vocab_size": len(VOCABULARY), "pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 2}
BODY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
CONFIGURATIONS = {
    "GPT2LMHeadModel": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 16},
    "LlamaForCausalLM": {**BODY, "num_key_value_heads": 2, "max_position_embeddings": 16},
    "BertForSequenceClassification": {
        **BODY, "max_position_embeddings": 16, "id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}
    },
    "BertForMaskedLM": {**BODY, "max_position_embeddings": 16},
    "BertModel": {**BODY, "max_position_embeddings": 16},
    "T5ForConditionalGeneration": {
        "d_model": 16, "d_ff": 24, "d_kv": 4, "num_heads": 4, "num_layers": 2, "decoder_start_token_id": 1
    },
}  # fmt: skip


def model(name, **options):
    """Make a small model of the class `name`, in evaluation mode."""
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**{**IDS, **CONFIGURATIONS[name], **options})).eval()


def tokenizer(**special):
    """Make a tokenizer whose tokens are the words of `VOCABULARY`."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(VOCABULARY)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **{**SPECIAL, **special})


def save_model(directory, name, **options):
    """Save a model of the class `name` and the tokenizer; returns the directory."""
    model(name, **options).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


def sentences(count, words=6):
    """Make `count` sentences of 2 to `words` words, the same in every call."""
    generator = torch.Generator().manual_seed(3)
    sizes = torch.randint(2, words + 1, (count,), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(len(WORDS), (n,), generator=generator).tolist()) for n in sizes]


def ids(text):
    """Token numbers of a text."""
    return [VOCABULARY.index(word) for word in text.split()]


def write_models_and_texts(directory):
    """Write two models and a text file of each format; returns the directory."""
    for folder, name in (("gpt", "GPT2LMHeadModel"), ("bert", "BertForSequenceClassification")):
        save_model(directory / folder, name)
    many = sentences(120)
    files = {
        "plain.txt": " ".join(many),
        "pairs.tsv": "".join(f"{text}\t{number % 2}\r\n" for number, text in enumerate(many)),
        "texts.jsonl": "".join(json.dumps({"text": text, "other": 1}) + "\n" for text in many),
        "labels.jsonl": "\n".join(json.dumps({"text": text, "label": "good"}) for text in many),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content.encode())
    return directory
