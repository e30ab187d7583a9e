"""Models and tokenizers of the transformers library, from a local directory or by their name on its hub."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor, nn

from secateurs.errors import ModelError
from secateurs.huggingface.tasks import Task, task_of
from secateurs.utils import refuse_quantized_config, require

UNTRUSTED = "; code that comes with a model is run only where --trust-remote-code says so"

PROCESSORS = ("tokenizer_config.json", "tokenizer.json", "processor_config.json", "preprocessor_config.json")
"""Of these files, one at least tells what makes inputs for a model."""


@dataclass(frozen=True)
class Pretrained:
    """What `save_pretrained` wrote, or what the hub holds under a name.

    Attributes:
        path: a local directory, or a name such as "org/model" where there is a network.
        trust_remote_code: run Python code that came with the model.
    """

    path: str
    trust_remote_code: bool = False

    @cached_property
    def config(self) -> Any:
        """The configuration.

        Raises:
            ModelError: there is none, or it is that of a quantized model.
            UsageError: transformers is not installed.
        """
        if Path(self.path).is_dir() and not (Path(self.path) / "config.json").is_file():
            raise ModelError(f"{self.path} holds no config.json: give a directory that save_pretrained wrote")
        config = self._read(_transformers().AutoConfig.from_pretrained, "configuration")
        refuse_quantized_config(config, f"the model of {self.path}")
        return config

    @property
    def architecture(self) -> str:
        """The name of the class that the weights are of; that of none in particular where it is not told."""
        return (getattr(self.config, "architectures", None) or ["AutoModel"])[0]

    @property
    def task(self) -> Task:
        """What the model was made to do."""
        return task_of(self.architecture, bool(getattr(self.config, "is_encoder_decoder", False)))

    def model(self) -> nn.Module:
        """The model with all of its weights.

        Raises:
            ModelError: it cannot be loaded, or the weights are not all there.
        """
        return self._whole()

    def without_weights(self, folder: Path) -> tuple[nn.Module, Mapping[str, Tensor]]:
        """The model without its parameters, which are on the meta device, and what they are, read when asked for.

        Args:
            folder: an empty directory, for weights that the files hold in another form than the model does, such as
                experts one by one; it is needed as long as the weights are.

        Returns:
            The model, its buffers whole; and its parameters by name, those that are tied under one of their names.

        Raises:
            ModelError: see `model`; or its class has some weights in another precision than it says.
        """
        require("accelerate", "hf")
        from accelerate.hooks import remove_hook_from_module

        model: Any = self._whole(device_map={"": "disk"}, offload_folder=str(folder))
        if wider := _in_32_bits(model):
            raise ModelError(
                f"{type(model).__name__} keeps {', '.join(wider)} in 32 bits where the others have 16, which is lost "
                "where weights stay in files: save the model in one precision, such as bfloat16 or float32"
            )
        hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
        weights: Any = next(
            weights_map for hook in hooks if (weights_map := getattr(hook, "weights_map", None)) is not None
        )
        while hasattr(weights, "dataset"):
            weights = weights.dataset
        remove_hook_from_module(model, recurse=True)
        for module in model.modules():
            vars(module).pop("forward", None)  # which stays behind, bound to the module
        model.tie_weights()
        return model, weights

    def tokenizer(self) -> Any:
        """The tokenizer beside the model.

        Raises:
            ModelError: it cannot be loaded.
        """
        return self._read(_transformers().AutoTokenizer.from_pretrained, "tokenizer")

    def processor(self) -> Any | None:
        """What makes inputs for the model: a tokenizer, or a processor of images; None if none can be loaded."""
        local = Path(self.path)
        if local.is_dir() and not any((local / name).is_file() for name in PROCESSORS):
            return None  # lest transformers make one up
        try:
            return self._read(_transformers().AutoProcessor.from_pretrained, "processor")
        except ModelError:
            return None

    def _whole(self, **options: Any) -> nn.Module:
        """The model, with a word on weights that are not there."""
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # it tells, and we refuse

        def read(path: str, **trust: Any) -> Any:
            return self._class.from_pretrained(path, config=self.config, **trust, **options)

        model, report = self._read(read, "model")
        lacking = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
        if lacking:
            raise ModelError(
                f"{self.path} has no weights of the right shape for {', '.join(lacking[:5])} of "
                f"{type(model).__name__}, which would be random: give the model whole"
            )
        return model

    @property
    def _class(self) -> Any:
        library = _transformers()
        remote = getattr(self.config, "auto_map", None) or {}
        if self.trust_remote_code:
            for auto, place in remote.items():
                if isinstance(place, str) and place.endswith(f".{self.architecture}"):
                    return getattr(library, auto)
        model_class = getattr(library, self.architecture, None)
        if model_class is None:
            raise ModelError(
                f"{self.path} is a {self.architecture}, which transformers does not have"
                + (UNTRUSTED if remote else "")
            )
        return model_class

    def _read(self, read: Callable[..., Any], what: str) -> Any:
        local = Path(self.path).is_dir()
        if not local and (Path(self.path).exists() or not _is_name(self.path)):
            raise ModelError(f"there is no directory {self.path!r}, and it is no name on the hub (org/model)")
        options = {} if local or _reachable() else {"local_files_only": True}
        try:
            with without_bars(), _unannounced():
                return read(self.path, trust_remote_code=self.trust_remote_code, **options)
        except ModelError:
            raise
        except Exception as error:
            hint = "" if self.trust_remote_code or "trust_remote_code" not in str(error) else UNTRUSTED
            reason = (isinstance(error, ImportError) and error.__cause__) or error
            hub = "the hub, which cannot be reached" if options else "the hub"
            where = self.path if local else f"{self.path} (no directory here, so a name on {hub})"
            raise ModelError(
                f"the {what} of {where} cannot be loaded: {type(reason).__name__}: {reason}{hint}"
            ) from error


def _is_name(path: str) -> bool:
    """Whether a model of the hub may be called so."""
    require("huggingface_hub", "hf")
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(path)
    except HFValidationError:
        return False
    return True


def _reachable() -> bool:
    """Whether the hub answers, or a proxy is there to ask; if not, transformers would try for half a minute."""
    hub = urlsplit(require("huggingface_hub.constants", extra="hf").ENDPOINT)
    if hub.scheme in getproxies():
        return True
    try:
        create_connection((hub.hostname or "", hub.port or {"http": 80}.get(hub.scheme, 443)), timeout=3).close()
    except OSError:
        return False
    return True


def _in_32_bits(model: Any) -> list[str]:
    """The modules that a class keeps in 32 bits, whatever the precision of its weights is."""
    half_types = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
    always = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    often = getattr(model, "_keep_in_fp32_modules", None) or ()  # transformers does not heed it in bfloat16
    return sorted({*(always if half_types else ()), *(often if torch.float16 in half_types else ())})


def _transformers() -> Any:
    return require("transformers", "hf")


@contextmanager
def _unannounced() -> Iterator[None]:
    """Without what accelerate has to say of weights that stay in their files, as they are to."""
    logger = logging.getLogger("accelerate.big_modeling")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def without_bars() -> Iterator[None]:
    """Without the progress bars of transformers, which would be printed."""
    bars = require("transformers.utils.logging", extra="hf")
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
