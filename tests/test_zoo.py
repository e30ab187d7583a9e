"""A fast part of the zoo: real architectures of three libraries, pruned, checked without bookkeeping, and used."""

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
    mobilenet_v3_small squeezenet1_1 BertForSequenceClassification DistilBertForSequenceClassification GPT2LMHeadModel
    OPTForCausalLM
    GPTNeoXForCausalLM LlamaForCausalLM LlamaForCausalLM:grouped Qwen3ForCausalLM MixtralForCausalLM
    T5ForConditionalGeneration ViTForImageClassification Dinov2ForImageClassification
""".split()
SHAPES = [entry.name for entry in ENTRIES if entry.family == "shapes" and entry.name != "lstm"]


def build(name):
    torch.manual_seed(0)
    entry = BY_NAME[name]
    return entry.build().eval(), entry.inputs()


@pytest.mark.parametrize("name", [*SHAPES, *LIBRARIES])
def test_a_model_of_the_zoo_is_pruned_exactly(name):
    row = measure_ours(*build(name))
    assert row["wrong"] is None
    assert row["backward"] is None
    assert row["predicted"]
    assert row["kept_params"] < 1


def test_the_zoo_is_large():
    assert len([entry for entry in ENTRIES if entry.family != "shapes"]) >= 110


def test_a_recurrent_layer_is_left_alone_with_a_reason():
    model, inputs = build("lstm")
    structure = sc.trace(model, inputs)
    assert any("aten::lstm" in reason or "rnn" in reason for reason in structure.frozen.values())


USED = """
    squeezenet1_1 resnet10t BertForSequenceClassification GPT2LMHeadModel LlamaForCausalLM:grouped OPTForCausalLM
    ViTForImageClassification grouped_conv
""".split()


@pytest.mark.parametrize("name", USED)
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


def test_a_model_without_weights_is_traced_on_the_meta_device():
    with torch.device("meta"):
        layer = torch.nn.TransformerEncoderLayer(4096, 32, 11008, batch_first=True, norm_first=True)
        model = torch.nn.TransformerEncoder(layer, 32, enable_nested_tensor=False)
    found = sc.check(model, torch.empty(1, 16, 4096, device="meta"))
    assert found.cost.params > 5e9
    assert [group.size for group in found.structure.groups.values() if group.kind == "neuron"] == [11008] * 32
