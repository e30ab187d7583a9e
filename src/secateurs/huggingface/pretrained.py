"""Pretrained models of the transformers library: configuration, model, tokenizer and processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError
from secateurs.huggingface.hub import UNTRUSTED, read_pretrained
from secateurs.huggingface.tasks import Task, task_of
from secateurs.utils import refuse_quantized_config, require

PROCESSORS = ("tokenizer_config.json", "tokenizer.json", "processor_config.json", "preprocessor_config.json")
"""A directory with a tokenizer or processor contains at least one of these files."""


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model of the transformers library. Parts are loaded on demand.

    Attributes:
        path: a directory that `save_pretrained` wrote, or the name of a model on the hub such as "org/model".
        trust_remote_code: run Python code that comes with the model.
    """

    path: str
    trust_remote_code: bool = False

    @cached_property
    def config(self) -> Any:
        """The configuration of the model.

        Raises:
            ModelError: the configuration cannot be loaded, or the model is quantized.
            UsageError: transformers is not installed.
        """
        if Path(self.path).is_dir() and not (Path(self.path) / "config.json").is_file():
            raise ModelError(f"{self.path} contains no config.json: give a directory that save_pretrained wrote")
        config = self._read(_transformers().AutoConfig.from_pretrained, "configuration")
        refuse_quantized_config(config, f"the model of {self.path}")
        return config

    @property
    def architecture(self) -> str:
        """Name of the model's class; "AutoModel" if the configuration names none."""
        return (getattr(self.config, "architectures", None) or ["AutoModel"])[0]

    @property
    def task(self) -> Task:
        """The task that the model was trained for."""
        return task_of(self.architecture, bool(getattr(self.config, "is_encoder_decoder", False)))

    def model(self) -> nn.Module:
        """Load the model with all weights.

        Raises:
            ModelError: the model cannot be loaded, or a weight is missing.
        """
        return self._load_complete()

    def without_weights(self, folder: Path) -> tuple[nn.Module, Mapping[str, Tensor]]:
        """Load the model with parameters on the meta device, and a mapping that reads their values on demand.

        Args:
            folder: an empty directory for weights whose layout in the files differs from the layout in the model, such
                as separate experts. The directory must exist as long as the mapping is used.

        Returns:
            The model, whose buffers have values; and the parameters by name. Tied parameters have one of their names.

        Raises:
            ModelError: see `model`; or the class keeps some weights in another precision than the others.
        """
        require("accelerate", "hf")
        from accelerate.hooks import remove_hook_from_module

        model: Any = self._load_complete(device_map={"": "disk"}, offload_folder=str(folder))
        if names := _kept_in_32_bits(model):
            raise ModelError(
                f"{type(model).__name__} keeps {', '.join(names)} in 32 bits where the others have 16, which is lost "
                "if weights are read from files one by one: save the model in one precision, such as bfloat16"
            )
        hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
        weights: Any = next(
            weights_map for hook in hooks if (weights_map := getattr(hook, "weights_map", None)) is not None
        )
        while hasattr(weights, "dataset"):
            weights = weights.dataset
        remove_hook_from_module(model, recurse=True)
        for module in model.modules():
            vars(module).pop("forward", None)  # `remove_hook_from_module` leaves a bound copy of `forward`
        model.tie_weights()
        return model, weights

    def tokenizer(self) -> Any:
        """Load the tokenizer of the model.

        Raises:
            ModelError: the tokenizer cannot be loaded.
        """
        return self._read(_transformers().AutoTokenizer.from_pretrained, "tokenizer")

    def processor(self) -> Any | None:
        """Load the tokenizer or the image processor of the model; None if there is none that can be loaded."""
        local = Path(self.path)
        if local.is_dir() and not any((local / name).is_file() for name in PROCESSORS):
            return None  # without these files transformers would create a default processor
        try:
            return self._read(_transformers().AutoProcessor.from_pretrained, "processor")
        except ModelError:
            return None

    def _load_complete(self, **options: Any) -> nn.Module:
        """Load the model and raise a ModelError if a weight is missing or has the wrong shape."""
        # transformers would initialise these weights randomly; the report lists them
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}

        def read(path: str, **trust: Any) -> Any:
            return self._model_class.from_pretrained(path, config=self.config, **trust, **options)

        model, report = self._read(read, "model")
        missing = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
        if missing:
            raise ModelError(
                f"{self.path} has no weights of the right shape for {', '.join(missing[:5])} of "
                f"{type(model).__name__}: give a complete model"
            )
        return model

    @property
    def _model_class(self) -> Any:
        """The class of transformers, or of the code that comes with the model, that loads the model."""
        library = _transformers()
        remote = getattr(self.config, "auto_map", None) or {}
        if self.trust_remote_code:
            for auto, location in remote.items():
                if isinstance(location, str) and location.endswith(f".{self.architecture}"):
                    return getattr(library, auto)
        model_class = getattr(library, self.architecture, None)
        if model_class is None:
            raise ModelError(
                f"{self.path} is a {self.architecture}, which transformers does not have"
                + (UNTRUSTED if remote else "")
            )
        return model_class

    def _read(self, read: Callable[..., Any], part: str) -> Any:
        return read_pretrained(read, self.path, self.trust_remote_code, part)


def _kept_in_32_bits(model: Any) -> list[str]:
    """Names of the modules that the class of a half-precision model keeps in float32."""
    half_types = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
    always = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    in_float16 = getattr(model, "_keep_in_fp32_modules", None) or ()  # transformers ignores this for bfloat16
    return sorted({*(always if half_types else ()), *(in_float16 if torch.float16 in half_types else ())})


def _transformers() -> Any:
    return require("transformers", "hf")
