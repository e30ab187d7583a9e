"""What `mask` returns: the masked copy, the masks, and the weights that it skips."""

import copy
import math

import pytest
import torch
from support.models import build
from torch import nn

import secateurs as sc
from secateurs.criteria.criterion import Criterion
from secateurs.errors import UnscoredWarning
from secateurs.pruning.unstructured.mask import mask
from secateurs.pruning.unstructured.masked import Masked


def test_dense_model_is_unchanged_and_the_copy_differs_only_in_removed_entries(net, batches):
    net.train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    result = mask(net, batches, "taylor", "keep:0.5")
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
        expected = tensor * result.masks[name] if name in result.masks else tensor
        assert torch.equal(result.model.state_dict()[name], expected)
    assert not {id(p) for p in net.parameters()} & {id(p) for p in result.model.parameters()}


def test_shared_weights_are_masked_once_and_stay_shared():
    model, (x,) = build("shared")
    result = mask(model, [x], "wanda", "keep:0.5")
    assert list(result.masks) == ["enter.weight", "twice.weight", "leave.weight"]
    assert result.model.also.weight is result.model.twice.weight
    assert int((result.model.also.weight == 0).sum()) == 32


def test_reapply_keeps_removed_entries_at_zero_during_training(net, batches):
    result = mask(net, batches, "l1", "keep:0.3")

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        made.register_step_post_hook(lambda *_: result.reapply())
        return made

    before = result.model[9].weight.detach().clone()
    sc.finetune(result.model, batches, sc.Recovery(epochs=2, lr=0.1), optimizer=optimizer)
    assert not torch.equal(result.model[9].weight, before)
    for name, tensor in result.masks.items():
        assert torch.equal(result.model.get_parameter(name) != 0, tensor)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.inner, self.head = nn.Embedding(10, 6), nn.Linear(6, 6), nn.Linear(6, 10, bias=False)
        self.head.weight = self.table.weight
        self.other, self.place = nn.Embedding(10, 6), nn.Parameter(torch.randn(1, 5, 6))
        self.scale, self.unused = nn.Parameter(torch.randn(6, 1)), nn.Linear(3, 3)

    def forward(self, tokens):
        x = self.table(tokens) + self.other(tokens) + self.place
        return self.head(self.inner(x * self.scale[:, 0]).relu())


def test_embedding_tables_and_unused_weights_are_skipped_with_a_reason():
    data = [torch.randint(10, (4, 5))]
    with pytest.warns(UnscoredWarning, match=r"^criterion 'wanda' leaves these weights unmasked: 'place' \(no linear"):
        result = mask(Tied(), data)
    assert list(result.masks) == ["inner.weight"]
    assert list(result.skipped) == ["place", "table.weight", "other.weight", "unused.weight"]
    assert result.skipped["table.weight"] == "its rows are looked up"
    assert result.skipped["unused.weight"] == "not used in the forward pass"


def test_weights_whose_inputs_cannot_be_observed_are_skipped_with_a_warning():
    model, inputs = build("depthwise")
    with pytest.warns(UnscoredWarning, match=r"'2.weight' \(no linear layer or convolution is seen to sum over it\)"):
        result = mask(model, [(inputs,)])
    assert torch.equal(result.model[2].weight, model[2].weight)
    assert list(result.masks) == ["0.weight", "5.weight"]


def test_weights_that_the_criterion_cannot_score_are_skipped_with_a_warning(net, batches):
    def only_small(weight):
        if weight.value.numel() > 200:
            raise sc.errors.UnscorableError("it is too large")
        return weight.value.abs()

    picky = Criterion("picky", lambda e: torch.zeros(e.group.size), "", True, entries=only_small)
    with pytest.warns(UnscoredWarning, match=r"'0.weight' \(it is too large\); '3.weight'"):
        assert list(mask(net, batches, picky).masks) == ["7.weight", "9.weight"]


@pytest.mark.parametrize("keep", ["twice", "twice.*", "also.weight", ["also"]])
def test_keep_patterns_match_every_name_of_a_shared_weight(keep):
    model, (x,) = build("shared")
    result = mask(model, [x], "l1", keep=keep)
    assert list(result.masks) == ["enter.weight", "leave.weight"]
    assert "kept: " in result.skipped["twice.weight"]
    assert torch.equal(result.model.twice.weight, model.twice.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_masking_preserves_the_floating_type(net, batches, dtype):
    data = [(x.to(dtype), y) for x, y in batches]
    result = mask(net.to(dtype), data, "wanda", "2:4")
    assert result.model[3].weight.dtype == dtype
    assert result.kept["3.weight"] == 0.5


def test_table_shows_the_kept_entries_and_that_zeros_alone_save_nothing(net, batches):
    result = mask(net, batches, "l1", "effective", "row", keep=["9"])
    assert isinstance(result, Masked)
    text = str(result)
    assert "0.weight  8 × 3 × 3 × 3       216" in text
    assert "effective, 3.weight: mean of 12 rows" in text
    assert "9.weight  kept: '9'" in text
    assert f"{result.sparsity:.1%} of these entries are zero." in text
    assert "make the model neither smaller nor faster" in text
    kept = sum(int(tensor.sum()) for tensor in result.masks.values())
    assert math.isclose(result.sparsity, 1 - kept / sum(tensor.numel() for tensor in result.masks.values()))
    assert "N_eff" in str(mask(net, batches, "l1", "effective"))
