"""A fast part of the zoo: architectures of three libraries are pruned, verified, exported and saved."""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch

import secateurs as sc
from secateurs.surgery.apply import apply_and_report

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm", "transformers")):
    pytest.skip("the zoo's libraries are not installed: pip install secateurs[zoo]", allow_module_level=True)

from benchmarks.zoo import BY_NAME, ENTRIES
from benchmarks.zoo.measure import measure_ours
from benchmarks.zoo.use import NAMES as USED
from benchmarks.zoo.use import WAYS
from benchmarks.zoo.use import measure as use

pytestmark = pytest.mark.slow

LIBRARIES = """
    mobilenet_v3_small squeezenet1_1 resnet10t convnext_atto ghostnet_050 mixnet_s levit_128s vit_tiny_patch16_224
    BertForSequenceClassification DistilBertForSequenceClassification RobertaForSequenceClassification
    AlbertForSequenceClassification ElectraForSequenceClassification DebertaV2ForSequenceClassification GPT2LMHeadModel
    OPTForCausalLM GPTNeoXForCausalLM BloomForCausalLM LlamaForCausalLM LlamaForCausalLM:grouped MistralForCausalLM
    Qwen2ForCausalLM Qwen3ForCausalLM GemmaForCausalLM Gemma3ForCausalLM PhiForCausalLM Phi3ForCausalLM
    MixtralForCausalLM Qwen3MoeForCausalLM MambaForCausalLM T5ForConditionalGeneration BartForConditionalGeneration
    ViTForImageClassification Dinov2ForImageClassification SwinForImageClassification ConvNextForImageClassification
""".split()
SHAPES = [entry.name for entry in ENTRIES if entry.family == "shapes"]


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


def test_the_zoo_has_110_models_and_a_third_of_it_is_tested():
    assert len([entry for entry in ENTRIES if entry.family != "shapes"]) >= 110
    assert 3 * len(SHAPES + LIBRARIES) >= len(ENTRIES)


@pytest.mark.parametrize("name", [n for n in USED if n not in ("densenet121", "mixer_s32_224", "convnext_atto")])
def test_a_pruned_model_exports_and_is_saved_and_loaded(name):
    row = use(name, ("torch.export", "sc.save and sc.load"))
    assert row["torch.export"] < 1e-4
    assert row["sc.save and sc.load"] < 1e-6  # equal weights at other addresses: kernels may round differently


@pytest.mark.parametrize("name", ["resnet18", "BertForSequenceClassification", "multihead_attention"])
def test_a_pruned_model_compiles(name):
    torch._dynamo.reset()
    assert use(name, ("torch.compile",))["torch.compile"] < 1e-4


CONFIGURED = """
    LlamaForCausalLM LlamaForCausalLM:grouped Qwen3ForCausalLM MixtralForCausalLM T5ForConditionalGeneration
""".split()


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_configuration_has_the_new_sizes(name):
    assert use(name, WAYS[-1:])[WAYS[-1]] < 1e-6


def test_a_configuration_without_a_field_for_the_sizes_is_not_changed():
    model, inputs = build("LlamaForCausalLM")
    before = model.config.to_dict()
    structure = sc.trace(model, inputs)
    first = next(name for name, group in structure.groups.items() if group.kind == "neuron")
    scores = {first: torch.arange(structure.group(first).size)}
    cut = apply_and_report(model, sc.allocate(structure, scores, "keep:0.5"), inputs, structure)  # of several layers
    assert cut.model.config.to_dict() == before
    assert "" not in cut.attributes


def test_pruning_and_loading_do_not_change_the_configuration_of_the_dense_model(tmp_path):
    model, inputs = build("LlamaForCausalLM:grouped")
    config = copy.deepcopy(model.config)
    result = sc.prune(model, [inputs], criterion="l1", budget="keep:0.5", scope="local")
    assert result.model.config.num_key_value_heads == 1
    assert model.config.to_dict() == config.to_dict()
    result.save(tmp_path / "small")
    loaded = sc.load(tmp_path / "small", model=lambda: type(model)(config))
    assert loaded.config.to_dict() == result.model.config.to_dict()
    assert config.num_key_value_heads == 2


@pytest.mark.parametrize("name", [*CONFIGURED, "BertForSequenceClassification", "GPT2LMHeadModel"])
def test_a_model_of_the_zoo_without_weights_has_the_same_structure(name):
    model, inputs = build(name)
    structure = sc.trace(model, inputs)
    with torch.device("meta"):
        bare = type(model)(model.config).bfloat16()  # the only type for which torch multiplies experts on this device
    without = sc.trace(bare, inputs)
    assert [str(group.members) for group in without.groups.values()] == [
        str(group.members) for group in structure.groups.values()
    ]
    assert without.cost().params == structure.cost().params


def test_a_large_model_is_traced_without_weights():
    with torch.device("meta"):
        layer = torch.nn.TransformerEncoderLayer(4096, 32, 11008, batch_first=True, norm_first=True)
        model = torch.nn.TransformerEncoder(layer, 32, enable_nested_tensor=False)
    report = sc.check(model, torch.empty(1, 16, 4096, device="meta"))
    assert report.cost.params > 5e9
    assert [group.size for group in report.structure.groups.values() if group.kind == "neuron"] == [11008] * 32
