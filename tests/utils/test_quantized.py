"""Quantized models are refused with an error that names the quantized part."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.errors import ModelError


def class_in(package, name, base):
    """A subclass of `base` with the name and module of a class of another package."""
    return type(name, (base,), {"__module__": package})


LAYERS = [
    ("bitsandbytes.nn.modules", "Linear4bit"),
    ("bitsandbytes.nn.modules", "Linear8bitLt"),
    ("auto_gptq.nn_modules.qlinear.qlinear_cuda", "QuantLinear"),
    ("transformers_modules.somebodys", "QuantLinear"),
    ("awq.modules.linear.gemm", "WQLinear_GEMM"),
    ("hqq.core.quantize", "HQQLinear"),
    ("optimum.quanto.nn.qlinear", "QLinear"),
]


@pytest.mark.parametrize(("package", "name"), LAYERS)
def test_a_layer_with_packed_weights_is_refused(package, name):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), class_in(package, name, nn.Linear)(8, 4))
    with pytest.raises(
        ModelError, match=rf"Sequential is quantized \(2 is a {name} of {package}\).*quantize the pruned model"
    ):
        sc.trace(model, torch.randn(2, 4))


@pytest.mark.parametrize("package", ["torchao.quantization", "optimum.quanto.tensor.weights.qbytes"])
def test_a_parameter_with_packed_values_is_refused(package):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    model[2].weight.__class__ = class_in(package, "Int8Tensor", nn.Parameter)
    with pytest.raises(ModelError, match=r"2.weight is a Int8Tensor of "):
        sc.prune(model, [torch.randn(2, 4)], criterion="l1")


def test_a_model_quantized_by_torch_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)))
    with pytest.raises(ModelError, match=r"0 is a Linear of torch.ao.nn.quantized"):
        sc.check(model, torch.randn(2, 4))


@pytest.mark.parametrize("settings", [{"quant_method": "gptq", "bits": 4}, SimpleNamespace(quant_method="gptq")])
def test_a_configuration_with_a_quantization_method_is_refused(net, images, settings):
    quantized = copy.deepcopy(net)
    quantized.config = SimpleNamespace(quantization_config=settings)
    with pytest.raises(ModelError, match="quantization method gptq in the configuration"):
        sc.trace(quantized, images)
    quantized.config.quantization_config = None
    assert sc.trace(quantized, images).groups


def test_a_package_with_a_similar_name_is_not_refused():
    layer = class_in("torchaological.nn", "Linear4bits", nn.Linear)
    model = nn.Sequential(layer(4, 8), nn.ReLU(), layer(8, 4))
    assert sc.trace(model, torch.randn(2, 4)).groups
