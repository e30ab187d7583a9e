"""The manifest of a saved model: a description of the model and a digest of every file in the directory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from secateurs.errors import PersistError
from secateurs.surgery import Dropped

FORMAT = 2
WEIGHTS, PLAN, MANIFEST, PAGE = "model.safetensors", "plan.json", "manifest.json", "report.html"


class Manifest(BaseModel):
    """Description of a saved model.

    Attributes:
        format: version of the directory's layout.
        secateurs: version of secateurs that wrote the directory.
        torch: version of torch that wrote the directory.
        model: class name of the model, for messages.
        criterion: name of the criterion that scored the units.
        dropped: layers that were dropped before pruning, see `secateurs.drop_layers`.
        attributes: by module name, the attributes whose values differ from the dense model.
        aliases: for each shared tensor, the second name and the name under which the tensor is saved.
        training: names of the modules in training mode.
        fixed: names of the parameters that require no gradient.
        sha256: digest of every file. The digest of the manifest covers all of the manifest except this digest.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: int
    secateurs: str
    torch: str
    model: str
    criterion: str
    dropped: tuple[Dropped, ...]
    attributes: dict[str, dict[str, int | list[int]]]
    aliases: dict[str, str]
    training: list[str]
    fixed: list[str]
    sha256: dict[str, str]


def read_manifest(directory: str | Path) -> Manifest:
    """Read the manifest of a saved model and check the digest of every file.

    Raises:
        PersistError: a file is missing, unreadable or altered, or the format is not supported.
    """
    if not isinstance(directory, (str, Path)):
        raise PersistError(f"the directory must be a string or a path, not {directory!r}")
    directory = Path(directory)
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST).read_text(encoding="utf-8"))
        digests = {MANIFEST: seal(manifest), **{name: digest(directory / name) for name in (WEIGHTS, PLAN)}}
        for name, actual in digests.items():
            if manifest.sha256.get(name) != actual:
                raise PersistError(f"{directory / name} was truncated or altered after it was saved")
    except ValidationError as error:
        raise PersistError(f"{directory / MANIFEST} is not a manifest of this version: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PersistError(f"{directory} is not a complete saved model: {error}") from error
    if manifest.format != FORMAT:
        raise PersistError(f"{directory} has format {manifest.format}; this version of secateurs reads format {FORMAT}")
    return manifest


def seal(manifest: Manifest) -> str:
    """Compute the digest of the manifest without the entry of this digest."""
    digests = {name: sha for name, sha in manifest.sha256.items() if name != MANIFEST}
    return hashlib.sha256(manifest.model_copy(update={"sha256": digests}).model_dump_json().encode()).hexdigest()


def digest(path: Path) -> str:
    """Compute the SHA-256 digest of a file, as hexadecimal text.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while chunk := file.read(1 << 20):
            sha.update(chunk)
        return sha.hexdigest()
