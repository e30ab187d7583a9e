"""Tied weights are one tensor that is cut once, and they stay tied after pruning, saving and loading."""

from __future__ import annotations

import importlib.util
from collections import defaultdict

import pytest
import torch
from support.plans import random_plan

import secateurs as sc

if not importlib.util.find_spec("transformers"):
    pytest.skip("transformers is not installed: pip install secateurs[hf]", allow_module_level=True)

import benchmarks.torchvision_ops  # noqa: F401, I001  (first: transformers imports torchvision)
import transformers

TEXT = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4,
        "max_position_embeddings": 32}  # fmt: skip
MODELS = {
    "GPT2LMHeadModel": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32},
    "BertForMaskedLM": TEXT,
    "AlbertForMaskedLM": {**TEXT, "embedding_size": 16},
    "T5ForConditionalGeneration": {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
                                   "num_heads": 4, "decoder_start_token_id": 0},
    "LlamaForCausalLM": {**TEXT, "tie_word_embeddings": True},
}  # fmt: skip
TIES = {
    "GPT2LMHeadModel": {"transformer.wte.weight", "lm_head.weight"},
    "BertForMaskedLM": {"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
    "AlbertForMaskedLM": {"albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"},
    "T5ForConditionalGeneration": {
        "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"
    },
    "LlamaForCausalLM": {"model.embed_tokens.weight", "lm_head.weight"},
}  # fmt: skip


def dense(name):
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**MODELS[name], use_cache=False)).eval()


def inputs_of(name):
    ids = torch.randint(3, 96, (2, 7))
    return {"input_ids": ids, **({"decoder_input_ids": ids[:, :5]} if name.startswith("T5") else {})}


def ties(model):
    """The names of each parameter that has several."""
    names = defaultdict(set)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].add(name)
    return {frozenset(shared) for shared in names.values() if len(shared) > 1}


@pytest.mark.parametrize("name", MODELS)
def test_every_plan_cuts_tied_weights_alike(name):
    model, inputs = dense(name), inputs_of(name)
    assert frozenset(TIES[name]) in ties(model)
    structure = sc.trace(model, inputs, kinds="all")
    for seed in range(5):
        plan = random_plan(structure, f"keep:{0.5 + 0.1 * seed}", seed)
        masks = structure.keep_masks(plan.keep)
        for names in ties(model):
            (first, *others) = (masks[tied] for tied in sorted(names))
            assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))
        cut = not all(mask.all() for mask in masks[min(TIES[name])])
        assert cut is (name != "T5ForConditionalGeneration")  # its width is frozen


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_weights_stay_tied_after_pruning_and_saving(name, tmp_path):
    model, inputs = dense(name), inputs_of(name)
    result = sc.prune(model, [inputs], criterion="l2", budget="keep:0.6", kinds="all", scope="local")
    assert result.cost.params == result.plan.pruned.params < result.dense_cost.params
    assert ties(result.model) == ties(model)
    result.save(tmp_path / "small")
    assert ties(sc.load(tmp_path / "small", lambda: dense(name))) == ties(model)


@pytest.mark.parametrize("name", MODELS)
def test_weights_stay_tied_after_save_pretrained(name, tmp_path):
    model, inputs = dense(name), inputs_of(name)
    keep = ["*predictions*"] if name.endswith("MaskedLM") else []
    result = sc.prune(
        model, [inputs], criterion="l2", budget="keep:0.6", kinds="neuron", keep=keep, limits=sc.Limits(uniform=True)
    )
    result.save_pretrained(tmp_path / "small")
    loaded = type(model).from_pretrained(tmp_path / "small")
    assert ties(loaded) == ties(model)
    with torch.no_grad():
        logits, expected = loaded(**inputs).logits, result.model(**inputs).logits
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_shared_layers_are_cut_once():
    model, inputs = dense("AlbertForMaskedLM"), inputs_of("AlbertForMaskedLM")
    structure = sc.trace(model, inputs)
    names = [name for name, group in structure.groups.items() if "albert_layer" in name and group.kind == "neuron"]
    assert len(names) == 1
    plan = random_plan(structure)
    (layer,) = sc.apply(model, plan, inputs, structure).albert.encoder.albert_layer_groups[0].albert_layers
    assert layer.ffn.out_features == layer.ffn_output.in_features == plan.widths[names[0]]
