"""`secateurs prune --layerwise`: one layer of a model in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateurs.cli.output import print_json, progress

if TYPE_CHECKING:
    from secateurs.experiments import Job
    from secateurs.pruning.layerwise import Layerwise, LayerwiseResult

WHOLE = {
    "weights": "--weights",
    "training": "--train",
    "validation": "--validation",
    "test": "--test",
    "schedule": "--rounds, --ramp or --during-training",
    "epochs_between": "--epochs-between",
    "recovery": "--epochs or another option of training",
    "fit": "--fit",
}
"""What a job does with a whole model in memory, and the options that ask for it."""


def prune_layerwise(job: Job, out: Path, scratch: Path | None, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Prune layer by layer; tell what that takes before it starts."""
    from secateurs.persist import check_free

    check(job, overwrite)
    check_free(out)
    work = layerwise_of(job, scratch, progress(quiet or as_json))
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


def check(job: Job, overwrite: bool) -> None:
    """See that a job asks for nothing that needs the whole model.

    Raises:
        UsageError: it does; the message says by which option.
    """
    from secateurs.errors import UsageError
    from secateurs.experiments import Job
    from secateurs.experiments.specs import pretrained_path
    from secateurs.utils import is_single_process

    if not pretrained_path(job.model):
        raise UsageError(f"--layerwise reads weights from the files of a model: name one by hf:PATH, not {job.model!r}")
    plain = Job(model=job.model, data=job.data)
    asked = [option for field, option in WHOLE.items() if getattr(job, field) != getattr(plain, field)]
    if overwrite:
        asked.append("--overwrite")
    if asked:
        raise UsageError(
            f"with --layerwise there is no {'; no '.join(asked)}: leave that out, and train or measure the model that "
            "is written, which is smaller"
        )
    if not is_single_process():
        raise UsageError("--layerwise is for a single process: start it without torchrun")


def layerwise_of(job: Job, scratch: Path | None, progress: Any) -> Layerwise:
    """What a job asks for, layer by layer."""
    from secateurs.experiments.specs import pretrained_path
    from secateurs.pruning.layerwise import Layerwise

    cutting = {name: value for name, value in job.cutting.items() if name != "schedule"}
    return Layerwise(
        path=pretrained_path(job.model),
        data=job.calibration(),
        **cutting,
        device=job.device or "cpu",
        scratch=scratch,
        tokenizer=job.tokenizer,
        trust_remote_code=job.trust_remote_code,
        progress=progress,
    )


def _plain(work: Layerwise, result: LayerwiseResult) -> dict[str, Any]:
    its, plan = work.estimate, result.plan
    return {
        "directory": str(result.directory),
        "dense": vars(plan.dense),
        "pruned": vars(plan.pruned),
        "kept": plan.widths,
        "compensation": None if result.compensation is None else result.compensation.errors,
        "estimate": {"peak": its.peak, **vars(its)},
    }
