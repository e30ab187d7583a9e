"""The manifest of a saved model: what it is, and a digest of everything in its directory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from secateurs.errors import PersistError
from secateurs.surgery import Dropped

FORMAT = 2
WEIGHTS, PLAN, MANIFEST, PAGE = "model.safetensors", "plan.json", "manifest.json", "report.html"


class Manifest(BaseModel):
    """What a saved model is.

    Attributes:
        format: version of the layout.
        secateurs, torch: versions that wrote it.
        model: the class of the model, for messages.
        criterion: what scored the units.
        dropped: whole layers that were dropped before, see `secateurs.drop_layers`.
        attributes: attributes of modules that differ from the dense model's, per module name.
        aliases: tensors that are another one under a second name, and that one's name.
        training: the modules in training mode.
        fixed: the parameters that require no gradient.
        sha256: digest of every file; that of the manifest itself is over its other content.
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
    """Read a saved model's manifest and check every file against it.

    Raises:
        PersistError: something is missing, unreadable or altered.
    """
    if not isinstance(directory, (str, Path)):
        raise PersistError(f"a directory is named by text or a path, not by {directory!r}")
    directory = Path(directory)
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST).read_text(encoding="utf-8"))
        digests = {MANIFEST: seal(manifest), **{name: digest(directory / name) for name in (WEIGHTS, PLAN)}}
        for name, actual in digests.items():
            if manifest.sha256.get(name) != actual:
                raise PersistError(f"{directory / name} is not the file that was saved: it was cut short or altered")
    except ValidationError as error:
        raise PersistError(f"{directory / MANIFEST} is not a manifest of this version: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PersistError(f"{directory} is not a complete saved model: {error}") from error
    if manifest.format != FORMAT:
        raise PersistError(f"{directory} has format {manifest.format}; this version of secateurs reads {FORMAT}")
    return manifest


def seal(manifest: Manifest) -> str:
    """The digest of the manifest's own content."""
    others = {name: sha for name, sha in manifest.sha256.items() if name != MANIFEST}
    return hashlib.sha256(manifest.model_copy(update={"sha256": others}).model_dump_json().encode()).hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while chunk := file.read(1 << 20):
            sha.update(chunk)
        return sha.hexdigest()
