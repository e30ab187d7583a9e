"""Measure models of the zoo: `python -m benchmarks.zoo.measure DIRECTORY NAME ...` writes DIRECTORY/NAME.json each."""

from __future__ import annotations

import copy
import json
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import torch
from torch import nn

import secateurs as sc
from benchmarks.zoo import BY_NAME
from secateurs.budgets.plan import Plan
from secateurs.data.call import as_call
from secateurs.structure import outputs_of
from secateurs.structure.axis import leaves
from secateurs.structure.structure import Structure
from secateurs.surgery.apply import apply_and_report
from secateurs.surgery.cut import cut
from secateurs.surgery.stale_attributes import SizeAttributes, assign
from tests.support.oracle import run_model, wrong

LIMIT_S = 120


def measure(name: str) -> dict[str, Any]:
    """Measure one model: Secateurs first, then Torch-Pruning."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    sc.prune(
        tiny, [torch.ones(1, 2)], criterion="l1", budget="keep:0.5"
    )  # the first trace of a process imports parts of torch
    entry = BY_NAME[name]
    model = entry.build().eval()
    inputs = entry.inputs()
    row: dict[str, Any] = {"name": name, "family": entry.family, "params": sum(p.numel() for p in model.parameters())}
    row["forward_s"] = _forward_seconds(model, inputs)
    structure, row["trace_s"] = best(lambda: sc.trace(model, inputs, kinds="all"))
    row["ours"] = within_limit(lambda: _ours(model, inputs, structure, row["trace_s"]))
    row["torch_pruning"] = within_limit(lambda: _torch_pruning(model, inputs, structure))
    return row


def measure_ours(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """The figures of Secateurs alone."""
    structure, seconds = best(lambda: sc.trace(model, inputs, kinds="all"))
    return _ours(model, inputs, structure, seconds)


def _ours(model: nn.Module, inputs: Any, structure: Structure, trace_s: float) -> dict[str, Any]:
    scores = sc.score(model, None, "l1", structure)
    plan, plan_s = best(lambda: sc.allocate(structure, scores, "keep:0.5", scope="local"))
    _, cut_s = best(lambda: cut_only(model, plan, structure))
    done, verified_s = _timed(lambda: apply_and_report(model, plan, inputs, structure))
    left = structure.freeze(done.put_back)
    return {
        "seconds": trace_s + plan_s + cut_s,
        "verified_s": verified_s,
        "groups": len(structure.groups),
        "put_back": done.put_back,
        "inexact": len(done.inexact),
        "kept_params": done.plan.pruned.params / plan.dense.params,
        "predicted": sc.cost(done.model, inputs) == done.plan.pruned,
        "prunable": left.prunable(),
        "in_the_way": _in_the_way(structure, left),
        "backward": _backward(done.model, model, inputs),
        "wrong": wrong(model, inputs, lambda twin, x: apply_and_report(twin, _exact(left, done.plan), x, left).model),
    }


def cut_only(model: nn.Module, plan: Plan, structure: Structure) -> nn.Module:
    """Cut a model without verification."""
    small = cut(model, structure.keep_masks(plan.keep))
    assign(small, SizeAttributes(model, structure).changes(plan.widths, {}))
    return small


def _torch_pruning(model: nn.Module, inputs: Any, structure: Structure) -> dict[str, Any]:
    """Torch-Pruning's generic path: L1, half of every layer, without the layers that make the outputs of the model."""
    outputs = {name for name, reason in structure.frozen.items() if reason == "model output"}
    small, seconds = best(lambda: prune_by_torch_pruning(copy.deepcopy(model), inputs, outputs))
    shapes = [t.shape for t in run_model(small, inputs)]
    if shapes != [t.shape for t in run_model(model, inputs)]:
        raise ValueError("other output shapes")
    params = sum(p.numel() for p in small.parameters()) / sum(p.numel() for p in model.parameters())
    exact = {
        member.tensor.rpartition(".")[0] for g in structure.groups.values() if not g.inexact for member in g.members
    }
    others = {name for name, module in model.named_modules() if name not in exact and not list(module.children())}
    return {
        "seconds": seconds,
        "kept_params": params,
        "backward": _backward(small, model, inputs),
        "wrong": wrong(model, inputs, lambda twin, x: prune_by_torch_pruning(twin, x, others | outputs)),
    }


def prune_by_torch_pruning(model: nn.Module, inputs: Any, ignored: set[str]) -> nn.Module:
    """Remove half of every layer by L1, in place, except for the ignored layers."""
    import torch_pruning as tp

    modules = dict(model.named_modules())
    single = isinstance(inputs, tuple) and len(inputs) == 1
    pruner = tp.pruner.BasePruner(
        model,
        inputs[0] if single else inputs,
        importance=tp.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.5,
        ignored_layers=[modules[name] for name in ignored if name in modules],
    )
    pruner.step()
    return model


def _exact(structure: Structure, plan: Plan) -> Plan:
    return plan.without({name: "not exact" for name in plan.groups if structure.group(name).inexact}, structure)


def _in_the_way(dense: Structure, left: Structure) -> str:
    """The reasons that keep most parameters from being pruned."""
    inside = {member.tensor for group in left.groups.values() for member in group.members}
    why = {group.var: f"fails: {left.frozen[name]}" for name, group in dense.groups.items() if name in left.frozen}
    blame: Counter[str] = Counter()
    for name in dense.parameters - inside:
        its = [var for axis in dense.axes[name] for var in leaves(axis)]
        reasons = {why[var] for var in its if var in why} or {var.frozen for var in its if var.frozen}
        for reason in reasons - {"kernel tap"}:
            blame[re.sub(r"\d+", "N", reason)[:80]] += dense.size(name)
    return "; ".join(reason for reason, _ in blame.most_common(2))


def _backward(small: nn.Module, dense: nn.Module, inputs: Any) -> str | None:
    """The error of the backward pass of the pruned model, if the dense model has none."""
    for model in (copy.deepcopy(dense), small):
        try:
            outputs = outputs_of(as_call(inputs).run(model))
            sum(t.float().sum() for t in outputs if t.requires_grad).backward()  # type: ignore[union-attr]
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:120] if model is small else None
    return None


def _forward_seconds(model: nn.Module, inputs: Any) -> float:
    return median(_timed(lambda: run_model(model, inputs))[1] for _ in range(4))


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def best(action: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the least time of five runs, or of one if that takes more than two seconds."""
    result, seconds = _timed(action)
    return result, min([seconds, *(_timed(action)[1] for _ in range(4 if seconds < 2 else 0))])


class TooLate(BaseException):
    """The time limit has passed. This is no Exception, so that no handler of model errors catches it."""


def within_limit(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of the action, or its error; exceeding the time limit is an error."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(LIMIT_S)
    try:
        return action()
    except (Exception, TooLate) as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.alarm(0)


def _too_late(*_: Any) -> None:
    raise TooLate(f"not done within {LIMIT_S} s")


def main(directory: Path, names: list[str]) -> None:
    """Measure the models named, one file each."""
    warnings.simplefilter("ignore")
    for name in names:
        try:
            row = measure(name)
        except Exception as error:
            row = {"name": name, "family": BY_NAME[name].family, "error": f"{type(error).__name__}: {error}"[:200]}
        (directory / f"{quote(name)}.json").write_text(json.dumps(row))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
