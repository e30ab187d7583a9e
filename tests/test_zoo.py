"""A fast third of the zoo: real architectures of three libraries, pruned, checked without bookkeeping, and used."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import secateurs as sc
from secateurs.surgery import operate

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm", "transformers")):
    pytest.skip("the zoo's libraries are not installed: pip install secateurs[zoo]", allow_module_level=True)

from benchmarks.zoo import BY_NAME, ENTRIES
from benchmarks.zoo.measure import measure_ours

LIBRARIES = """
    mobilenet_v3_small squeezenet1_1 shufflenet_v2_x0_5 regnet_x_400mf googlenet vit_small lraspp_mobilenet_v3_large
    resnet10t skresnet18 rexnet_100 ghostnet_100 mixer_s32_224 levit_128s poolformer_s12 caformer_s18
    BertForSequenceClassification DistilBertForSequenceClassification AlbertForSequenceClassification
    ModernBertForSequenceClassification GPT2LMHeadModel OPTForCausalLM GPTNeoXForCausalLM BloomForCausalLM
    LlamaForCausalLM LlamaForCausalLM:grouped Qwen3ForCausalLM Gemma2ForCausalLM Phi3ForCausalLM MixtralForCausalLM
    T5ForConditionalGeneration BartForConditionalGeneration ViTForImageClassification Dinov2ForImageClassification
    CLIPModel SegformerForSemanticSegmentation MambaForCausalLM
""".split()
SHAPES = [entry.name for entry in ENTRIES if entry.family == "shapes" and entry.name != "lstm"]


def build(name):
    torch.manual_seed(0)
    entry = BY_NAME[name]
    return entry.build().eval(), entry.inputs()


@pytest.mark.parametrize("name", [name for name in [*SHAPES, *LIBRARIES] if name in BY_NAME])
def test_a_model_of_the_zoo_is_pruned_exactly(name):
    row = measure_ours(*build(name))
    assert row["wrong"] is None
    assert row["backward"] is None
    assert row["predicted"]
    assert row["kept_params"] < 1


def test_most_of_the_names_are_in_the_zoo():
    assert len([name for name in LIBRARIES if name in BY_NAME]) > 30
    assert len(ENTRIES) - len([e for e in ENTRIES if e.family == "shapes"]) >= 110


def test_a_recurrent_layer_is_left_alone_with_a_reason():
    model, inputs = build("lstm")
    structure = sc.trace(model, inputs)
    assert any("aten::lstm" in reason or "rnn" in reason for reason in structure.frozen.values())


USED = """
    resnet18 mobilenet_v3_small squeezenet1_1 shufflenet_v2_x0_5 densenet121 convnext_tiny vit_small resnet10t
    rexnet_100 mixer_s32_224 BertForSequenceClassification GPT2LMHeadModel LlamaForCausalLM:grouped OPTForCausalLM
    ViTForImageClassification grouped_conv
""".split()


@pytest.mark.parametrize("name", [name for name in USED if name in BY_NAME])
def test_a_pruned_model_exports_and_is_saved_and_loaded(name, tmp_path):
    from secateurs.data import as_call
    from secateurs.persist import save
    from secateurs.structure.trace import outputs_of

    model, inputs = build(name)
    structure = sc.trace(model, inputs)
    scores = sc.score(model, None, "l1", structure)
    cut = operate(model, sc.allocate(structure, scores, "keep:0.6", scope="local"), inputs, structure)
    call = as_call(inputs)
    with torch.no_grad():
        expected = list(outputs_of(call.run(cut.model)))
        exported = torch.export.export(cut.model, call.args, call.kwargs).module()
        for a, b in zip(outputs_of(call.run(exported)), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        save(tmp_path / "m", cut.model, cut.plan, cut.attributes, "l1")
        loaded = sc.load(tmp_path / "m", model=lambda: BY_NAME[name].build())
        for a, b in zip(outputs_of(call.run(loaded)), expected, strict=True):
            assert torch.equal(a, b)


def test_seven_billion_parameters_are_traced_without_weights():
    import time

    from transformers import LlamaConfig, LlamaForCausalLM

    import benchmarks.torchvision_ops  # noqa: F401 (transformers imports torchvision)

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(use_cache=False))
        tokens = torch.zeros(1, 16, dtype=torch.int64)
    start = time.perf_counter()
    found = sc.check(model, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})
    assert time.perf_counter() - start < 60
    assert found.cost.params > 6.7e9
    assert {group.kind for group in found.structure.groups.values()} == {"head", "neuron"}
    assert len(found.structure.groups) == 64
    assert found.prunable > 0.9
