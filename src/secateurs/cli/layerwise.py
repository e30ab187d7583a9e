"""`secateurs prune --layerwise`: prune a model with one layer in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateurs.cli.output import print_json, progress
from secateurs.errors import UsageError
from secateurs.experiments import Job
from secateurs.experiments.specs import pretrained_path
from secateurs.persist import check_free
from secateurs.pruning.layerwise import Layerwise, LayerwiseResult
from secateurs.utils import is_single_process

WHOLE_MODEL = {
    "weights": "--weights",
    "training": "--train",
    "validation": "--validation",
    "test": "--test",
    "fit": "--fit",
}
"""Fields of a job that need the whole model in memory → their options."""

WHOLE_MODEL_CONFIG = {
    "schedule": "--rounds, --ramp or --during-training",
    "between": "--epochs-between",
    "recovery": "--epochs or another option of training",
    "recalibrate": "--recalibrate",
}
"""Fields of a configuration that need the whole model in memory → their options."""


def prune_layerwise(job: Job, out: Path, scratch: Path | None, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Prune layer by layer; print an estimate of memory and time first."""
    path = check(job, overwrite)
    check_free(out)
    work = Layerwise(
        path,
        job.calibration(),
        config=job.config,
        device=job.device or "cpu",
        scratch=scratch,
        tokenizer=job.tokenizer,
        trust_remote_code=job.trust_remote_code,
        progress=progress(quiet or as_json),
    )
    if not quiet and not as_json:
        print(work.estimate, flush=True)
    result = work.prune(out)
    if as_json:
        print_json(_plain(work, result))
    elif not quiet:
        print(result.plan)
        if result.compensation is not None:
            print(result.compensation)
        print(f"Model: {out}, for from_pretrained")


def check(job: Job, overwrite: bool) -> str:
    """Check that a job does not need the whole model.

    Returns:
        The path of the model.

    Raises:
        UsageError: an option needs the whole model; the message names it.
    """
    path = pretrained_path(job.model)
    if not path:
        raise UsageError(f"--layerwise reads weights from the files of a saved model: give hf:PATH, not {job.model!r}")
    plain = Job(model=job.model, data=job.data)
    used = [option for name, option in WHOLE_MODEL.items() if getattr(job, name) != getattr(plain, name)]
    used += [
        option
        for name, option in WHOLE_MODEL_CONFIG.items()
        if getattr(job.config, name) != getattr(plain.config, name)
    ]
    if overwrite:
        used.append("--overwrite")
    if used:
        raise UsageError(
            f"--layerwise cannot be combined with {', '.join(used)}: leave these options out, and train or measure the "
            "pruned model afterwards"
        )
    if not is_single_process():
        raise UsageError("--layerwise runs in a single process: start it without torchrun")
    return path


def _plain(work: Layerwise, result: LayerwiseResult) -> dict[str, Any]:
    """The result as plain data for JSON."""
    estimate, plan = work.estimate, result.plan
    return {
        "directory": str(result.directory),
        "dense": vars(plan.dense),
        "pruned": vars(plan.pruned),
        "kept": plan.widths,
        "compensation": None if result.compensation is None else result.compensation.errors,
        "estimate": {"peak": estimate.peak, **vars(estimate)},
    }
