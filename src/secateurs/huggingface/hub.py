"""Reading a part of a pretrained model (configuration, tokenizer, weights) from a directory or from the hub."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from secateurs.errors import ModelError
from secateurs.utils import require

UNTRUSTED = ". Python code that comes with a model runs only with --trust-remote-code"


def read_pretrained(read: Callable[..., Any], path: str, trust_remote_code: bool, part: str) -> Any:
    """Read one part of a pretrained model, without progress bars.

    If the hub cannot be reached, only files in the local cache are read.

    Args:
        read: a function of transformers such as `AutoConfig.from_pretrained`.
        path: a local directory, or the name of a model on the hub such as "org/model".
        trust_remote_code: run Python code that comes with the model.
        part: name of the part, for the error message.

    Returns:
        The result of `read`.

    Raises:
        ModelError: the path is neither a directory nor a name, or reading fails.
        UsageError: transformers is not installed.
    """
    local = Path(path).is_dir()
    if not local and (Path(path).exists() or not _is_hub_name(path)):
        raise ModelError(f"{path!r} is neither a directory nor a valid name of a model on the hub (org/model)")
    options = {} if local or _hub_is_reachable() else {"local_files_only": True}
    try:
        with without_bars(), _without_offload_warnings():
            return read(path, trust_remote_code=trust_remote_code, **options)
    except ModelError:
        raise
    except Exception as error:
        hint = "" if trust_remote_code or "trust_remote_code" not in str(error) else UNTRUSTED
        reason = (isinstance(error, ImportError) and error.__cause__) or error
        hub = "the hub, which cannot be reached" if options else "the hub"
        where = path if local else f"{path} (not a local directory, therefore looked up on {hub})"
        raise ModelError(f"the {part} of {where} cannot be loaded: {type(reason).__name__}: {reason}{hint}") from error


def _is_hub_name(path: str) -> bool:
    """Whether the text is a valid name of a model on the hub."""
    require("huggingface_hub", "hf")
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(path)
    except HFValidationError:
        return False
    return True


def _hub_is_reachable() -> bool:
    """Whether the hub accepts connections or a proxy is set. (transformers itself would retry for 30 seconds.)"""
    hub = urlsplit(require("huggingface_hub.constants", extra="hf").ENDPOINT)
    if hub.scheme in getproxies():
        return True
    try:
        create_connection((hub.hostname or "", hub.port or {"http": 80}.get(hub.scheme, 443)), timeout=3).close()
    except OSError:
        return False
    return True


@contextmanager
def _without_offload_warnings() -> Iterator[None]:
    """Suppress the warnings of Accelerate about weights that are offloaded to disk, which is intended here."""
    logger = logging.getLogger("accelerate.big_modeling")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def without_bars() -> Iterator[None]:
    """Disable the progress bars of transformers inside the block."""
    bars = require("transformers.utils.logging", extra="hf")
    enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            bars.enable_progress_bar()
