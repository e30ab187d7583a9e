"""Criteria score the weight that acts, where a module computes it from other tensors."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import secateurs as sc
from secateurs.criteria.effective_weights import effective_tensors


class Square(nn.Module):
    def forward(self, weight):
        return weight * weight


def parametrized(layer):
    parametrize.register_parametrization(layer, "weight", Square())
    return layer


WAYS = {
    "prune": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrizations.weight_norm": parametrizations.weight_norm,
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
    "parametrize": parametrized,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("way", WAYS)
def test_one_tensor_has_the_values_of_the_weight_that_acts_and_the_state_stays(way):
    model = nn.Sequential(WAYS[way](nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2)).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = effective_tensors(model)
    x = torch.randn(3, 4)
    acting = model[0](x) - model[0].bias
    matches = [name for name, t in tensors.items() if t.shape == (6, 4) and torch.allclose(x @ t.T, acting, atol=1e-6)]
    assert len(matches) == 1
    assert tensors["2.weight"] is model[2].weight
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm"])
def test_masked_filters_are_removed_first(criterion):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 2, 3)).eval()
    with torch.no_grad():
        model[0].weight[::2] *= 5
    mask = torch.ones(8, 3, 3, 3)
    mask[::2] = 0
    prune.custom_from_mask(model[0], "weight", mask)
    x = torch.randn(4, 3, 8, 8)
    result = sc.prune(model, [x], criterion, "keep:0.5", compensate=False)
    assert result.plan.keep["0"] == (1, 3, 5, 7)
    torch.testing.assert_close(result.model(x), model(x))
