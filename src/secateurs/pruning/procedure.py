"""`Procedure`: everything that a pruning run needs: the configuration, the model and the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from secateurs.budgets import EFFECTIVE, AllowedWidths, Limits, Scope, resolve_limits
from secateurs.criteria import scoring_passes
from secateurs.data import Loss, first_batch
from secateurs.errors import DataError, UsageError
from secateurs.pruning.config import PruningConfig
from secateurs.pruning.state import Measure
from secateurs.structure import Structure, trace
from secateurs.surgery import supported_widths
from secateurs.training import Recovery, check_training
from secateurs.utils import Progress


@dataclass(frozen=True)
class Procedure:
    """The configuration, the model and the data of a pruning run; see `secateurs.prune` for the other attributes.

    Attributes:
        dense: the dense model.
        examples: the inputs on which the model is traced.
        costed: the inputs for which costs are measured; with `per_sample`, a single sample.
        per_sample: whether the example inputs were taken from the data, so that costs are those of one sample.
        training: labelled batches for recovery; by default the data itself.
    """

    dense: nn.Module
    data: Iterable[Any]
    config: PruningConfig
    examples: Any
    costed: Any
    per_sample: bool
    loss: Loss | None
    training: Iterable[Any]
    validation: Iterable[Any] | None
    measure: Measure | None
    progress: Progress

    @classmethod
    def of(
        cls,
        model: nn.Module,
        data: Iterable[Any],
        config: PruningConfig,
        example_inputs: Any,
        training: Iterable[Any] | None,
        **parts: Any,
    ) -> Procedure:
        """Fill in the defaults of `secateurs.prune`: example inputs and training data are taken from the data."""
        examples = costed = example_inputs
        if example_inputs is None:
            # Two samples show which dimension holds the samples; costs are measured for one sample.
            batch = first_batch(data)
            examples, costed = batch.sample(2), batch.sample(1)
        return cls(
            dense=model,
            data=data,
            config=config,
            examples=examples,
            costed=costed,
            per_sample=example_inputs is None,
            training=data if training is None else training,
            **parts,
        )

    def check(self, in_directory: bool) -> None:
        """Check the requirements of all stages before the first one starts.

        Args:
            in_directory: whether the run is stored in a directory.

        Raises:
            UsageError: an argument would not be used, or a stage lacks an argument that it needs.
            DataError: the data can be read only once, but the stages read it several times.
        """
        config = self.config
        recipes = [recipe for recipe in (config.between, config.recovery) if isinstance(recipe, Recovery)]
        for recipe in recipes:
            check_training(recipe, self.training, recipe.distill_weight > 0, self.validation, in_directory or None)
        if self.loss is not None and not config.criterion.needs_loss and not recipes:
            raise UsageError(
                f"criterion {config.criterion.name!r} needs no gradients and nothing is trained: omit loss"
            )
        if isinstance(self.data, Iterator) and (reads := self.data_reads) > 1:
            raise DataError(
                f"the data is an iterator, which can be read only once, but this run reads it {reads} times (in each "
                "round, for compensation and for recovery): give a list or a DataLoader, or use compensate=False"
            )

    @property
    def data_reads(self) -> int:
        """How many times the stages read the data, not counting the epochs of training."""
        config = self.config
        recovers = (config.recovery is not None or bool(config.recalibrate)) and self.training is self.data
        observed = any(leaf.requests for leaf in config.criterion.leaves)
        scoring = config.schedule.rounds * scoring_passes([config.criterion])
        return scoring + recovers + (config.compensate and not observed)

    @cached_property
    def structure(self) -> Structure:
        """The structure of the dense model."""
        return self.traced(self.dense)

    @cached_property
    def limits(self) -> Limits:
        """The limits of the configuration, with the default of `uniform` resolved for the model."""
        pooled = self.config.scope is Scope.GLOBAL and self.config.budget.quantity == EFFECTIVE
        return resolve_limits(self.config.limits, self.dense, pooled)

    @cached_property
    def allowed_widths(self) -> AllowedWidths | None:
        """The uniform widths that the configuration class of the model supports; None if widths need not be uniform."""
        return supported_widths(self.dense, self.structure) if self.limits.uniform else None

    def traced(self, model: nn.Module) -> Structure:
        """Trace the dense model, or a model that was cut from it."""
        structure = trace(model, self.examples, self.config.keep, self.config.kinds)
        return structure.per_sample() if self.per_sample else structure
