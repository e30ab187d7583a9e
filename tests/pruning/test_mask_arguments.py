"""Arguments of `mask`: invalid ones are refused with the reason."""

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.errors import BudgetError, CriterionError, DataError, ModelError, NoMatchError, UsageError
from secateurs.pruning.unstructured.mask import mask


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"criterion": "nexp"},
            CriterionError,
            r"'nexp' scores whole units only; .*: fisher, grasp, l1, l2",
        ),
        ({"criterion": "0.5*l1+0.5*l2"}, CriterionError, "whole units only"),
        ({"criterion": "wandy"}, CriterionError, "unknown criterion"),
        ({"budget": "macs:0.5"}, BudgetError, r'\'macs:0.5\' cannot be used for single weights, nor a pattern "N:M"'),
        ({"budget": "keep:0"}, BudgetError, "keep:F"),
        ({"budget": "effective:-1"}, BudgetError, "factor B > 0"),
        ({"budget": "4:2"}, BudgetError, "1 ≤ N < M"),
        ({"budget": "0:4"}, BudgetError, "1 ≤ N < M"),
        ({"budget": "2:4", "scope": "row"}, BudgetError, "'2:4' determines which entries compete"),
        ({"scope": "local"}, BudgetError, "unknown scope 'local'; choose one of global, layer, row"),
        ({"keep": ["heads"]}, NoMatchError, "'heads' matches no module or parameter"),
        ({"keep": ["*"]}, BudgetError, r"no weight can be masked: .*'0.weight' \(kept: '\*'\)"),
        ({"loss": nn.functional.cross_entropy}, CriterionError, "'wanda' needs no gradients"),
        ({"rounds": 0}, UsageError, "rounds must be an integer ≥ 1, not 0"),
    ],
)
def test_invalid_arguments_are_refused(net, batches, options, error, message):
    with pytest.raises(error, match=message):
        mask(net, batches, **options)


def test_invalid_data_and_models_are_refused(net, batches):
    s = sc.trace(net, batches[0][0])
    with pytest.raises(CriterionError, match="'wanda' needs data"):
        mask(net, None, structure=s)
    with pytest.raises(CriterionError, match="give the structure"):
        mask(net, None, "l1")
    with pytest.raises(DataError, match="reads the data 2 times"):
        mask(net, iter(batches), "grasp", structure=s)
    with pytest.raises(DataError, match="reads the data 3 times"):
        mask(net, iter(batches), "wanda", structure=s, rounds=3)
    with pytest.raises(DataError, match="no targets"):
        mask(net, [x for x, _ in batches], "taylor")
    with pytest.raises(ModelError, match="masking needs its weights"):
        mask(nn.Linear(3, 3, device="meta"), [torch.randn(2, 3)])
    with torch.no_grad():
        net[3].weight[0, 0] = float("nan")
    with pytest.raises(CriterionError, match=r"'l1', entries of weight '3.weight': 9 scores are not finite"):
        mask(net, None, "l1", structure=s)


def test_one_round_accepts_an_iterator_that_can_be_read_once(net, batches):
    s = sc.trace(net, batches[0][0])
    once, often = mask(net, iter(batches), structure=s), mask(net, batches, structure=s)
    assert all(torch.equal(once.masks[name], often.masks[name]) for name in often.masks)
