"""Loops over time that PyTorch runs operator by operator: taps follow the weights, whatever the length of the data."""

import pytest
import torch
from torch import nn

import secateurs as sc
from secateurs.observe import Totals, observe


class Recurrent(nn.Module):
    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.rnn, self.head = kind(6, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
@pytest.mark.parametrize("length", [5, 9])
def test_the_steps_of_each_direction_are_observed_at_its_own_weights(kind, length):
    model = Recurrent(kind).double().eval()
    structure = sc.trace(model, torch.randn(2, 5, 6, dtype=torch.float64))
    x = torch.randn(4, length, 6, dtype=torch.float64)
    with torch.no_grad():
        forward, backward = model.rnn(x)[0].split(8, 2)
    name = "rnn.weight_hh_l0_reverse"
    taps = [contraction.operand for contraction in structure.contractions if contraction.weight == name]
    assert len(taps) == 4  # the first step starts from zeros
    observed = observe(model, [x], {tap: [Totals] for tap in taps})
    means = torch.stack([observed[tap, Totals].mean for tap in taps])
    torch.testing.assert_close(means, backward.flip(1)[:, :4].mean(0), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(means, forward[:, :4].mean(0))


def test_batches_of_different_lengths_are_pruned_by_the_default_criterion():
    data = [torch.randn(4, length, 6) for length in (7, 9, 5)]
    result = sc.prune(Recurrent().eval(), data, budget="params:0.7")
    assert result.cost.params <= 0.7 * result.dense_cost.params
