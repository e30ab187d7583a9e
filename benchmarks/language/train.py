"""Train the models of these benchmarks: `python -m benchmarks.language.train DIRECTORY [--texts ../shared/data/text]`.

`encoder`: a BERT of four layers on SST-2. `decoder`: a Llama of four layers, with grouped-query attention, on
tinyshakespeare without its last tenth. `gpt`: a GPT-2 with the 12 layers of 12 heads that EMP's paper prunes, on the
same text. All are saved as Hugging Face directories with their tokenizers, next to the texts that they are measured on;
existing ones are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks.torchvision_ops  # noqa: F401  (first: transformers imports torchvision)

# isort: split
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import secateurs as sc
from secateurs.cli.output import progress

TEXTS = Path("../shared/data/text")
SEED = 0
ENCODER = {"vocabulary": 4000, "length": 48, "batch": 64, "epochs": 4, "lr": 5e-4}
DECODER = {"vocabulary": 1024, "length": 128, "batch": 32, "epochs": 4, "lr": 2e-3}
GPT = {**DECODER, "epochs": 3, "lr": 1e-3}


def encoder(texts: Path, out: Path) -> None:
    """A classifier of sentences; SST-2's own split, as `train.tsv`, `dev.tsv` and `test.tsv` beside it."""
    splits = {name: (texts / "sst2" / f"{name}.tsv").read_text(encoding="utf-8") for name in ("train", "dev", "test")}
    for name, text in splits.items():
        (out.parent / f"{name}.tsv").write_text(text, encoding="utf-8")
    rows = [line.rsplit("\t", 1) for line in splits["train"].splitlines()]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    tokenizer.normalizer = normalizers.BertNormalizer()  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        (text for text, _ in rows), trainers.WordPieceTrainer(vocab_size=ENCODER["vocabulary"], special_tokens=special)
    )
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=ENCODER["length"],
    )
    torch.manual_seed(SEED)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(fast),
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=8,
            intermediate_size=512,
            max_position_embeddings=ENCODER["length"],
            num_labels=2,
            hidden_dropout_prob=0.2,
        )
    )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED)).tolist()
    batches = []
    for start in range(0, len(order), ENCODER["batch"]):
        chosen = [rows[index] for index in order[start : start + ENCODER["batch"]]]
        batch = fast([text for text, _ in chosen], padding=True, truncation=True, return_tensors="pt")
        labels = torch.tensor([int(label) for _, label in chosen])
        batches.append({"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels})
    _train(model, batches, ENCODER)
    _save(model, fast, out)


def decoder(texts: Path, out: Path) -> None:
    """A Llama on the play's text."""
    sizes = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 3}
    config = partial(LlamaConfig, **sizes, intermediate_size=512, max_position_embeddings=512, pad_token_id=0)
    _language(LlamaForCausalLM, config, DECODER, texts, out)


def gpt(texts: Path, out: Path) -> None:
    """A GPT-2 with 144 heads on the same text."""
    _language(GPT2LMHeadModel, partial(GPT2Config, n_embd=192, n_layer=12, n_head=12, n_positions=256), GPT, texts, out)


def _language(kind: type, config: Callable[..., Any], settings: dict[str, Any], texts: Path, out: Path) -> None:
    """A language model on the play's text."""
    text, fast = _play(texts, out)
    torch.manual_seed(SEED)
    model = kind(config(vocab_size=len(fast), bos_token_id=1, eos_token_id=2))
    _train(model, _blocks(text, fast), settings)
    _save(model, fast, out)


def _play(texts: Path, out: Path) -> tuple[str, PreTrainedTokenizerFast]:
    """The text to train on and a tokenizer made from it.

    Beside the model: `train.txt`, `tune.txt` (its last tenth, to recover on), `test.txt` (the last twentieth of all).
    """
    text = (texts / "tinyshakespeare.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    for name, part in {
        "train": text[:cut],
        "tune": text[int(0.9 * cut) : cut],
        "test": text[int(0.95 * len(text)) :],
    }.items():
        (out.parent / f"{name}.txt").write_text(part, encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        text[:cut].splitlines(keepends=True),
        trainers.BpeTrainer(vocab_size=DECODER["vocabulary"], special_tokens=special, initial_alphabet=alphabet),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=1 << 30
    )
    return text[:cut], fast


def _blocks(text: str, tokenizer: PreTrainedTokenizerFast) -> list[dict[str, torch.Tensor]]:
    """Batches of sequences in random order."""
    ids = torch.tensor(tokenizer(text)["input_ids"])
    blocks = ids[: len(ids) // DECODER["length"] * DECODER["length"]].reshape(-1, DECODER["length"])
    blocks = blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(SEED))]
    return [{"input_ids": its, "labels": its} for its in blocks.split(DECODER["batch"])]


def _train(model: torch.nn.Module, batches: list, settings: dict) -> None:
    recipe = sc.Recovery(
        settings["epochs"], settings["lr"], optimizer="adamw", weight_decay=0.05, warmup=0.05, clip=1.0
    )
    history = sc.finetune(model, batches, recipe, seed=SEED, progress=progress(quiet=False))
    print(f"mean loss of each epoch: {', '.join(f'{loss:.3f}' for loss in history.train)}", file=sys.stderr)


def _save(model, tokenizer, out: Path) -> None:
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)


MODELS = {"encoder": encoder, "decoder": decoder, "gpt": gpt}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--texts", type=Path, default=TEXTS)
    arguments = parser.parse_args()
    for name, make in MODELS.items():
        place = arguments.directory / name
        if not (place / "model" / "config.json").exists():
            place.mkdir(parents=True, exist_ok=True)
            make(arguments.texts, place / "model")
