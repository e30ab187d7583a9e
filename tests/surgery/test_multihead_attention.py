"""Attention whose heads do not fill the width: it computes the same as PyTorch's, and is cut, saved and loaded."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import random_plan
from torch import nn

import secateurs as sc
from secateurs.surgery.apply import apply_and_report
from secateurs.surgery.multihead_attention import PrunedMultiheadAttention

HEADS, WIDTH, OTHER, QUERIES, KEYS, SAMPLES = 4, 16, 12, 5, 7, 3


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_pruned_attention_computes_the_same_as_the_original(data):
    flag = lambda name: data.draw(st.booleans(), label=name)  # noqa: E731
    width = data.draw(st.sampled_from([None, OTHER]), label="width of keys")
    original = nn.MultiheadAttention(
        WIDTH, HEADS, bias=flag("bias"), add_bias_kv=flag("bias_kv"), add_zero_attn=flag("zero"),
        batch_first=flag("batch_first"), kdim=width, vdim=width,
    ).double()  # fmt: skip
    for parameter in original.parameters():
        nn.init.normal_(parameter, std=0.5)
    pruned = copy.deepcopy(original)
    pruned.__class__ = PrunedMultiheadAttention
    batched = flag("batched")
    q, k, v = (
        torch.randn(*([SAMPLES] if batched else []), length, size or WIDTH).double()
        for length, size in ((QUERIES, None), (KEYS, width), (KEYS, width))
    )
    if batched and not original.batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    boolean = flag("boolean masks")
    heads = [SAMPLES * HEADS if batched else HEADS] if flag("a mask per head") else []
    mask = _mask(boolean, *heads, QUERIES, KEYS) if flag("mask") else None
    padding = _mask(boolean, *([SAMPLES] if batched else []), KEYS) if flag("padding") else None
    options = {"key_padding_mask": padding, "attn_mask": mask, "need_weights": flag("weights")}
    options["average_attn_weights"] = flag("average")
    options["is_causal"] = mask is not None and not options["need_weights"] and flag("causal")
    if options["is_causal"] and padding is None:
        options["attn_mask"] = nn.Transformer.generate_square_subsequent_mask(KEYS, dtype=torch.double)[:QUERIES]
    expected, weights = original(q, k, v, **options)
    output, output_weights = pruned(q, k, v, **options)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(output_weights, weights)


def _mask(boolean, *shape):
    mask = torch.rand(shape) > 0.7
    mask[..., 0] = False  # a query that sees nothing is nan in both
    return mask if boolean else mask * -1.5 + 0.0 * torch.rand(shape).double()


@pytest.fixture
def encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def tokens():
    return torch.randn(2, 6, 16)


def test_an_encoder_loses_heads_and_does_not_use_the_fused_form(encoder, tokens):
    padding = torch.tensor([[False] * 4 + [True] * 2, [False] * 6])
    structure = sc.trace(encoder, tokens)
    cut = apply_and_report(encoder, random_plan(structure), tokens, structure)
    assert [g.kind for g in structure.groups.values()] == ["head", "neuron"] * 2
    assert not cut.put_back
    attention = cut.model.layers[1].self_attn
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (2, 4, 16)
    with torch.no_grad():  # where PyTorch would take its fused form
        fused = cut.model.eval()(tokens, src_key_padding_mask=padding)
    plain = cut.model(tokens, src_key_padding_mask=padding)
    assert plain.requires_grad
    torch.testing.assert_close(fused[0, :4], plain[0, :4])
    torch.testing.assert_close(fused[1], plain[1])


def test_width_and_heads_can_be_cut_twice(tokens):
    def build():
        torch.manual_seed(1)
        body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True), 2)
        return nn.Sequential(nn.Linear(16, 16), body, nn.Linear(16, 3)).eval()

    small = build()
    for left in (12, 9):
        structure = sc.trace(small, tokens, kinds="all")
        cut = apply_and_report(small, random_plan(structure, "keep:0.75"), tokens, structure)
        assert not cut.put_back
        small = cut.model
        assert small[1].layers[0].self_attn.embed_dim == small[1].layers[0].self_attn.kdim == left
    assert sc.cost(small, tokens) == cut.plan.pruned


def test_a_cut_attention_is_saved_and_loaded(encoder, tokens, tmp_path):
    result = sc.prune(encoder, [tokens], criterion="l1", budget="keep:0.5")
    result.save(tmp_path / "small")
    loaded = sc.load(tmp_path / "small", lambda: copy.deepcopy(encoder))
    torch.testing.assert_close(loaded(tokens), result.model(tokens), rtol=0, atol=0)
