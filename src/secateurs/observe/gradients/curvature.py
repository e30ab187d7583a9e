"""Second derivatives of the mean loss: the diagonal of the Hessian, and the product of Hessian and gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from secateurs.data import batches, errors_on_all_ranks, first_rank_data, sum_over_ranks
from secateurs.observe.gradients.backward import equal_weight_parts, hessian_product, loss_gradients
from secateurs.observe.gradients.gradient import Gradient, Setting, Values
from secateurs.observe.gradients.sample_means import LOSS_GRADIENT

PROBES = 100
"""The number of Rademacher probes (Hutchinson). With fewer, noise decides the signs in ReLU networks."""


class HessianDiagonal(Gradient):
    """Hutchinson's estimate of the diagonal of the Hessian: the mean of v ⊙ Hv over vectors v of random signs."""

    name = "hessian"
    summary = f"the Hessian's diagonal on the first batch, by {PROBES} Rademacher probes"
    needs_curvature = True
    passes = 1

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Estimate the diagonal on the first batch."""
        generator = torch.Generator().manual_seed(setting.seed)
        batch = next(batches(first_rank_data(setting.data)))
        gradients = loss_gradients(setting, batch, differentiable=True)
        total = {name: torch.zeros_like(p) for name, p in setting.parameters.items()}
        for _ in range(PROBES):
            probe = {
                name: (2 * torch.randint(2, p.shape, generator=generator) - 1).to(p)
                for name, p in setting.parameters.items()
            }
            for name, product in hessian_product(setting, gradients, probe).items():
                total[name] += probe[name] * product / PROBES
        return total


class HessianGradient(Gradient):
    """The product of the Hessian and the gradient of the mean loss."""

    name, summary = "hessian-gradient", "the Hessian times the gradient, both of the mean loss"
    needs_curvature = True
    passes = 1
    requires = (LOSS_GRADIENT,)

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Average the products over all samples, in a second pass over the data."""
        total = {name: torch.zeros_like(p) for name, p in setting.parameters.items()}
        samples = 0
        with errors_on_all_ranks(setting.data):
            read = setting.progress(batches(setting.data), "differentiating twice")
            for batch in equal_weight_parts(read, single=False):
                samples += batch.size
                gradients = loss_gradients(setting, batch, differentiable=True)
                for name, product in hessian_product(setting, gradients, computed[LOSS_GRADIENT]).items():
                    total[name] += batch.size * product
        samples = sum_over_ranks(setting.data, samples)
        return {name: sum_over_ranks(setting.data, tensor) / samples for name, tensor in total.items()}


HESSIAN_DIAGONAL, HESSIAN_GRADIENT = HessianDiagonal(), HessianGradient()
