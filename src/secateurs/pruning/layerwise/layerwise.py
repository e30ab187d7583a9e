"""`Layerwise`: prune a saved model with one layer of it in memory at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from secateurs.budgets import allocate
from secateurs.data import Batch, Shard, batches
from secateurs.errors import PersistError, UsageError
from secateurs.huggingface import Pretrained
from secateurs.persist import check_free, model_directory
from secateurs.pruning.config import PruningConfig, PruningOptions, resolve_config
from secateurs.pruning.layerwise.compensate import compensate_by_stages
from secateurs.pruning.layerwise.config_files import cut_config, write_config_files
from secateurs.pruning.layerwise.estimate import Estimate, estimate
from secateurs.pruning.layerwise.execution_plan import ExecutionPlan, plan_execution
from secateurs.pruning.layerwise.offloaded_model import OffloadedModel
from secateurs.pruning.layerwise.result import LayerwiseResult
from secateurs.pruning.layerwise.score import check_local, score_by_stages
from secateurs.pruning.layerwise.stages import open_stages
from secateurs.pruning.layerwise.verify import verify
from secateurs.pruning.layerwise.weight_files import WeightFiles
from secateurs.structure import Structure, trace
from secateurs.surgery import supported_widths, unsupported_groups
from secateurs.utils import Progress, silent

UNUSED = ("schedule", "between", "recovery", "recalibrate")
"""Fields of a configuration that need the whole model in memory."""


class Layerwise:
    """Prune a model of the transformers library with the weights and activations of one layer in memory at a time.

    Weights are read from the files of the model when they are needed, and the output of one layer is kept for the next.
    Scores, plan and weights equal those of `secateurs.prune` in one round without recovery. The model runs on a few
    samples first, with zeros for weights: this shows which units can be removed, and whether the layers can run one by
    one. Widths are uniform, since the result is written for `from_pretrained`.

    Args:
        path: a directory that `save_pretrained` wrote, or a name on the hub where there is a network.
        data: see `secateurs.data.batches`; it is read once, and stays in memory.
        config: what is removed; by default `PruningConfig()`. The criterion may use weights and activations; gradients
            need the whole model.
        device: where the layers run; their outputs are kept in the memory of the CPU.
        scratch: a directory for the outputs of the layers, as files that are removed after use; by default they are
            kept in memory.
        tokenizer: directory of the tokenizer or processor to save with the model; by default that of the model, if
            it has one.
        trust_remote_code: run Python code that came with the model.
        progress: wraps the iteration over the data.
        **options: fields of `PruningConfig` that replace those of `config`: `criterion="wanda", budget="params:0.7"`.

    Raises:
        UsageError, CriterionError, BudgetError: an argument cannot be used.

    Example:
        >>> import transformers
        >>> config = transformers.LlamaConfig(
        ...     vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
        ... )
        >>> transformers.LlamaForCausalLM(config).save_pretrained("dense")
        >>> tokens = [torch.randint(20, (2, 8))]
        >>> work = sc.Layerwise("dense", tokens, criterion="wanda", budget="params:0.9")
        >>> work.estimate.passes  # with one for the compensation
        2
        >>> work.prune("small").directory.name
        'small'
    """

    def __init__(
        self,
        path: str | Path,
        data: Iterable[Any],
        config: PruningConfig | None = None,
        *,
        device: str = "cpu",
        scratch: str | Path | None = None,
        tokenizer: str = "",
        trust_remote_code: bool = False,
        progress: Progress = silent,
        **options: Unpack[PruningOptions],
    ):
        self.path, self.data, self.device, self.tokenizer = path, data, device, tokenizer
        self.config = resolve_config(config, options)
        self.scratch, self.trust_remote_code, self.progress = scratch, trust_remote_code, progress
        self.config.check_unused(UNUSED, "Layerwise")
        check_local(self.config.criterion)
        if self.config.limits.uniform is False:
            raise UsageError(
                "Layerwise writes models for from_pretrained, so widths are uniform: leave out uniform=False"
            )
        if isinstance(data, Shard):
            raise UsageError("Layerwise reads all data in one process: give the data, not a shard")

    @cached_property
    def estimate(self) -> Estimate:
        """The memory, disk space and time that pruning needs; no weights are read for it.

        Raises:
            SecateursError: the model or the data cannot be used.
        """
        self._check_config_support()
        return estimate(
            offloaded=self._offloaded,
            plan=self._execution,
            sample=self._largest.sample(2),
            data=self._data,
            structure=self.structure,
            criterion=self.config.criterion,
            compensate=self.config.compensate,
            in_files=self.scratch is not None,
            disk=sum(file.stat().st_size for file in Path(self._home.name).rglob("*") if file.is_file()),
        )

    @cached_property
    def structure(self) -> Structure:
        """The structure of the dense model, with the costs of one sample.

        Raises:
            SecateursError: see `secateurs.trace`.
        """
        return trace(self._offloaded.model, self._data[0].sample(2), self.config.keep, self.config.kinds).per_sample()

    @cached_property
    def scores(self) -> Mapping[str, Tensor]:
        """Group name → scores [units], as `secateurs.score` computes them.

        Raises:
            CriterionError, DataError: see `secateurs.score`.
        """
        with open_stages(self._offloaded, self._execution, self._items, self._scratch) as stages:
            return score_by_stages(
                stages,
                self._offloaded,
                self.config.criterion,
                structure=self.structure,
                aggregate=self.config.aggregate,
                seed=self.config.seed,
                progress=self.progress,
            )

    def prune(self, out: str | Path) -> LayerwiseResult:
        """Score, plan, cut, verify and compensate, and write the pruned model, whole or not at all.

        It is verified before it is compensated: read from its files, layer by layer in float64, it must compute what
        the dense model computes with the removed units at zero; see `verify`.

        Args:
            out: a new directory, for `from_pretrained`. The configurations, the tokenizer and `plan.json` go along.

        Raises:
            PersistError: the class cannot express the widths, or the directory exists or cannot be written.
            VerificationError: the cut model computes something else.
            SecateursError: of the kind that `trace`, `score` and `allocate` raise.
        """
        out = check_free(out)
        self._check_config_support()
        plan = allocate(
            self.structure,
            self.scores,
            self.config.budget,
            replace(self.config.limits, uniform=True),
            self.config.unit_scope,
            takes=supported_widths(self._offloaded.model, self.structure),
        )
        config = cut_config(self._offloaded.model, self.structure, plan)
        processor = Pretrained(self.tokenizer or str(self.path), self.trust_remote_code).processor()
        compensation = None
        with model_directory(out) as work:
            files = WeightFiles(work, self._offloaded, self._execution)
            files.write(self.structure.keep_masks(plan.keep), self.progress)
            write_config_files(work, self._offloaded.model, config, plan, str(self.path), processor)
            small = Pretrained(str(work), self.trust_remote_code)
            verify(
                self._source,
                small,
                plan=plan,
                structure=self.structure,
                execution=self._execution,
                call=self._data[0].sample(2).to(self._device),
                device=self._device,
            )
            if self.config.compensate:
                with open_stages(self._offloaded, self._execution, self._items, self._scratch) as stages:
                    compensation = compensate_by_stages(
                        stages,
                        self._offloaded,
                        files,
                        plan=plan,
                        structure=self.structure,
                        progress=self.progress,
                    )
        return LayerwiseResult(out, plan, self.scores, compensation, self.structure)

    def _check_config_support(self) -> None:
        """Check that a configuration can describe the cut model, before hours of scoring.

        Raises:
            PersistError: the model's class builds some groups in no width but their own.
        """
        if self._unsupported:
            raise PersistError(
                f"layer by layer, models are written for from_pretrained, and no configuration of "
                f"{type(self._offloaded.model).__name__} describes {'; '.join(self._unsupported)}"
            )

    @cached_property
    def _unsupported(self) -> list[str]:
        return unsupported_groups(self._offloaded.model, self.structure)

    @cached_property
    def _source(self) -> Pretrained:
        return Pretrained(str(self.path), self.trust_remote_code)

    @cached_property
    def _device(self) -> torch.device:
        try:
            return torch.empty(0, device=self.device).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"layers cannot be run on device {self.device!r}: {error}") from error

    @cached_property
    def _scratch(self) -> Path | None:
        return None if self.scratch is None else Path(self.scratch)

    @cached_property
    def _home(self) -> tempfile.TemporaryDirectory[str]:
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="weights-", dir=self._scratch)

    @cached_property
    def _offloaded(self) -> OffloadedModel:
        return OffloadedModel(*self._source.without_weights(Path(self._home.name)), self._device)

    @cached_property
    def _execution(self) -> ExecutionPlan:
        call = self._largest.sample(2).to(self._device)
        return plan_execution(self._offloaded.model, call, self._offloaded.parameters)

    @cached_property
    def _data(self) -> list[Batch]:
        return list(batches(self.data))

    @cached_property
    def _items(self) -> list[Any]:
        return [batch.call if batch.targets is None else (batch.call, batch.targets) for batch in self._data]

    @property
    def _largest(self) -> Batch:
        return max(self._data, key=lambda batch: sum(tensor.numel() for tensor in batch.call.tensors()))
