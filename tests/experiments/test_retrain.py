"""Training from scratch: new weights and swapped activations."""

import re

import pytest
import torch
from support.states import copy_state, equal_states
from torch import nn
from torch.nn import functional

import secateurs as sc
from secateurs.data.call import as_call
from secateurs.errors import ModelError, UsageError
from secateurs.experiments.studies import activations, retrain
from secateurs.experiments.studies.retrain import architecture, check, reinitialised, untrained
from secateurs.experiments.studies.swap import ACTIVATIONS, swap_activations
from secateurs.training.recipe import Recovery


def test_reinitialising_depends_on_the_seed_and_changes_neither_model_nor_random_state(net):
    before, random = copy_state(net), torch.get_rng_state()
    one, again, other = (copy_state(reinitialised(net, seed)) for seed in (1, 1, 2))
    assert equal_states(before, net)
    assert torch.equal(random, torch.get_rng_state())
    assert equal_states(one, again)
    weights = [name for name, tensor in one.items() if name.endswith("weight") and tensor.ndim > 1]
    assert len(weights) == 4
    assert not any(torch.equal(one[name], state[name]) for name in weights for state in (other, before))


def test_reinitialised_weights_equal_those_of_a_new_module():
    old = nn.Linear(5, 7)
    torch.manual_seed(3)
    fresh = nn.Linear(5, 7)
    assert equal_states(fresh, reinitialised(old, 3))
    attention = nn.MultiheadAttention(4, 2)
    nn.init.ones_(attention.in_proj_weight)
    nn.init.ones_(attention.out_proj.bias)
    fresh = reinitialised(attention, 0)
    assert fresh.in_proj_weight.unique().numel() > 40  # a parameter of the attention layer itself
    assert not fresh.out_proj.bias.any()  # the method of a module runs after those of the modules in it


def test_modules_that_cannot_be_reset_are_refused_by_name():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(3))

    with pytest.raises(ModelError, match=r"1\.0 \(Scale\).*reset_parameters"):
        reinitialised(nn.Sequential(nn.Linear(3, 3), nn.Sequential(Scale())), 0)


def test_an_untrained_network_has_batch_norm_of_the_data(job):
    model = untrained(architecture(job()), job())
    x = torch.cat([batch[0] for batch in job(batch_size=60).calibration()])
    torch.testing.assert_close(model[1].running_mean, model[0](x).mean(0).detach())
    bare = untrained(nn.Sequential(nn.Linear(4, 3)), job())
    assert equal_states(bare, reinitialised(nn.Sequential(nn.Linear(4, 3)), 0))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"data": "random:64"}, "random:64"),
        ({"weights": "w.safetensors"}, "--weights"),
        ({"fit": "py:a.py:fit"}, "--fit"),
        ({"recovery": Recovery(distill_weight=0.5)}, "--distill-weight"),
        ({"between": Recovery(), "schedule": sc.Schedule(2)}, "--epochs-between"),
        ({"budget": "half"}, "half"),
    ],
)
def test_unsupported_options_are_refused_before_any_work(job, options, named):
    with pytest.raises(Exception, match=re.escape(named)):
        check(job(**options), 1, 1)


def test_a_study_needs_seeds_epochs_and_test_data(job):
    for numbers in ((0, 1), (1, 0), (1, 2, 0)):
        with pytest.raises(UsageError, match="at least one"):
            check(job(), *numbers)
    with pytest.raises(UsageError, match="--test"):
        retrain.test_data(job(test=""))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_all_activation_modules_are_replaced_and_nothing_else(name):
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)), nn.GELU(), nn.Tanh())
    before, x = copy_state(model), torch.randn(5, 3)
    new = swap_activations(model, name, as_call(x))
    assert [type(module) for module in model.modules()].count(nn.GELU) == 1
    assert equal_states(before, new)
    activate = ACTIVATIONS[name]()
    assert torch.equal(new(x), torch.tanh(activate(model[1][1](activate(model[0](x))))))


def test_activations_called_as_functions_are_refused_with_the_calling_module(job):
    with pytest.raises(ModelError, match=r"gelu in 'inner'"):
        swap_activations(job("Functional").dense(), "relu", as_call(torch.randn(2, 4)))

    class Own(nn.Sequential):
        def forward(self, x):
            return functional.leaky_relu(super().forward(x))

    with pytest.raises(ModelError, match="leaky_relu in forward of the model itself"):
        swap_activations(Own(nn.Linear(3, 3), nn.ReLU()), "relu", as_call(torch.randn(2, 3)))
    with pytest.raises(ModelError, match="nothing to replace"):
        swap_activations(nn.Linear(3, 3), "relu", as_call(torch.randn(2, 3)))


def test_activations_of_the_digits_network_can_be_replaced():
    new = swap_activations(activations.network(), "silu", as_call(torch.randn(2, 1, 8, 8)))
    assert [type(module) for module in new].count(nn.SiLU) == 4
