"""`Layerwise`: prune a saved model with one layer of it in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from secateurs.budgets import Budget, allocate
from secateurs.criteria import Named
from secateurs.data import Shard
from secateurs.errors import PersistError, UsageError
from secateurs.huggingface import Pretrained
from secateurs.persist import check_free, model_directory
from secateurs.pruning.config import ROUNDS_AND_TRAINING, MoreOptions, PruningConfig, resolve_config
from secateurs.pruning.layerwise.compensate import compensate_by_stages
from secateurs.pruning.layerwise.config_files import cut_config, write_config_files
from secateurs.pruning.layerwise.estimate import Estimate, estimate
from secateurs.pruning.layerwise.inputs import LayerwiseInputs
from secateurs.pruning.layerwise.result import LayerwiseResult
from secateurs.pruning.layerwise.score import check_local, score_by_stages
from secateurs.pruning.layerwise.verify import verify
from secateurs.pruning.layerwise.weight_files import WeightFiles
from secateurs.structure import Structure, trace
from secateurs.surgery import supported_widths, unsupported_groups
from secateurs.utils import Progress, silent


class Layerwise:
    """Prune a model of the transformers library with the weights and activations of one layer in memory at a time.

    Weights are read from the files of the model when they are needed, and the output of one layer is kept for the next.
    Scores, plan and weights equal those of `secateurs.prune` in one round without recovery. The model runs on a few
    samples first, with zeros for weights: this shows which units can be removed, and whether the layers can run one by
    one. Widths are uniform, since the result is written for `from_pretrained`.

    Args:
        path: a directory that `save_pretrained` wrote, or a name on the hub where there is a network.
        data: see `secateurs.data.batches`; it is read once, and stays in memory.
        criterion, budget: what scores the units and what is kept; by default those of `config`.
        config: what is removed; by default `PruningConfig()`. The criterion may use weights and activations; gradients
            need the whole model.
        device: where the layers run; their outputs are kept in the memory of the CPU.
        scratch: a directory for the outputs of the layers, as files that are removed after use; by default they are
            kept in memory.
        tokenizer: directory of the tokenizer or processor to save with the model; by default that of the model, if
            it has one.
        trust_remote_code: run Python code that came with the model.
        progress: wraps the iteration over the data.
        **options: fields of `PruningConfig` that replace those of `config`: `aggregate="max", seed=1`.

    Raises:
        UsageError, CriterionError, BudgetError: an argument cannot be used.

    Example:
        >>> import transformers
        >>> config = transformers.LlamaConfig(
        ...     vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
        ... )
        >>> transformers.LlamaForCausalLM(config).save_pretrained("dense")
        >>> tokens = [torch.randint(20, (2, 8))]
        >>> work = sc.Layerwise("dense", tokens, "wanda", "params:0.9")
        >>> work.estimate.passes  # with one for the compensation
        2
        >>> work.prune("small").directory.name
        'small'
    """

    def __init__(
        self,
        path: str | Path,
        data: Iterable[Any],
        criterion: Named | None = None,
        budget: Budget | str | None = None,
        *,
        config: PruningConfig | None = None,
        device: str = "cpu",
        scratch: str | Path | None = None,
        tokenizer: str = "",
        trust_remote_code: bool = False,
        progress: Progress = silent,
        **options: Unpack[MoreOptions],
    ):
        self.config = resolve_config(config, criterion, budget, options)
        self.path, self.tokenizer, self.progress = path, tokenizer, progress
        self._inputs = LayerwiseInputs(
            Pretrained(str(path), trust_remote_code), data, device, None if scratch is None else Path(scratch)
        )
        self.config.check_unused(ROUNDS_AND_TRAINING, "Layerwise")
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
            offloaded=self._inputs.offloaded,
            plan=self._inputs.execution,
            sample=self._inputs.example,
            data=self._inputs.data,
            structure=self.structure,
            criterion=self.config.criterion,
            compensate=self.config.compensate,
            in_files=self._inputs.scratch is not None,
            disk=self._inputs.bytes_on_disk,
        )

    @cached_property
    def structure(self) -> Structure:
        """The structure of the dense model, with the costs of one sample.

        Raises:
            SecateursError: see `secateurs.trace`.
        """
        model, sample = self._inputs.offloaded.model, self._inputs.data[0].sample(2)
        return trace(model, sample, self.config.keep, self.config.kinds).per_sample()

    @cached_property
    def scores(self) -> Mapping[str, Tensor]:
        """Group name → scores [units], as `secateurs.score` computes them.

        Raises:
            CriterionError, DataError: see `secateurs.score`.
        """
        with self._inputs.stages() as stages:
            return score_by_stages(
                stages,
                self._inputs.offloaded,
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
        inputs = self._inputs
        self._check_config_support()
        plan = allocate(
            self.structure,
            self.scores,
            self.config.budget,
            replace(self.config.limits, uniform=True),
            self.config.unit_scope,
            allowed_widths=supported_widths(inputs.offloaded.model, self.structure),
        )
        config = cut_config(inputs.offloaded.model, self.structure, plan)
        processor = Pretrained(self.tokenizer or str(self.path), inputs.dense.trust_remote_code).processor()
        compensation = None
        with model_directory(out) as work:
            files = WeightFiles(work, inputs.offloaded, inputs.execution)
            files.write(self.structure.keep_masks(plan.keep), self.progress)
            write_config_files(work, inputs.offloaded.model, config, plan, str(self.path), processor)
            small = Pretrained(str(work), inputs.dense.trust_remote_code)
            verify(
                inputs.dense,
                small,
                plan=plan,
                structure=self.structure,
                execution=inputs.execution,
                call=inputs.data[0].sample(2).to(inputs.device),
                device=inputs.device,
            )
            if self.config.compensate:
                with inputs.stages() as stages:
                    compensation = compensate_by_stages(
                        stages,
                        inputs.offloaded,
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
                f"{type(self._inputs.offloaded.model).__name__} describes {'; '.join(self._unsupported)}"
            )

    @cached_property
    def _unsupported(self) -> list[str]:
        return unsupported_groups(self._inputs.offloaded.model, self.structure)
