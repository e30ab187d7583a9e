"""Measure one model of the zoo: `python -m benchmarks.zoo.measure NAME` prints one line of JSON."""

from __future__ import annotations

import copy
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import secateurs as sc
from benchmarks.zoo import BY_NAME
from secateurs.data import as_call
from secateurs.plan import Plan
from secateurs.structure import Structure
from secateurs.structure.trace import outputs_of
from secateurs.surgery import operate


def measure(name: str) -> dict[str, Any]:
    """Everything about one model, ours first."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    sc.prune(tiny, [torch.ones(1, 2)], "l1", "keep:0.5")  # the first trace of a process imports parts of torch
    entry = BY_NAME[name]
    model = entry.build().eval()
    inputs = entry.inputs()
    row: dict[str, Any] = {"name": name, "family": entry.family, "params": sum(p.numel() for p in model.parameters())}
    row["forward_s"] = _forward_seconds(model, inputs)
    structure, row["trace_s"] = _timed(lambda: sc.trace(model, inputs))
    row["ours"] = _attempt(lambda: _ours(model, inputs, structure, row["trace_s"]))
    row["torch_pruning"] = _attempt(lambda: _torch_pruning(model, inputs, structure))
    return row


def _ours(model: nn.Module, inputs: Any, structure: Structure, trace_s: float) -> dict[str, Any]:
    scores = sc.score(model, None, "l1", structure)
    plan, plan_s = _timed(lambda: sc.allocate(structure, scores, "keep:0.5", scope="local"))
    cut, cut_s = _timed(lambda: operate(model, plan, inputs, structure))
    left = structure.freeze(cut.put_back)
    return {
        "seconds": trace_s + plan_s + cut_s,
        "groups": len(structure.groups),
        "put_back": cut.put_back,
        "inexact": len(cut.inexact),
        "kept_params": cut.plan.pruned.params / plan.dense.params,
        "predicted": sc.cost(cut.model, inputs) == cut.plan.pruned,
        "prunable": _share_in_groups(left),
        "in_the_way": _in_the_way(left),
        "backward": _backward(cut.model, inputs),
        "wrong": _wrong(model, inputs, lambda twin, x: operate(twin, _exact(left, cut.plan), x, left).model),
    }


def _torch_pruning(model: nn.Module, inputs: Any, structure: Structure) -> dict[str, Any]:
    """Torch-Pruning's generic path: L1, half of every layer, everything that makes the model's outputs ignored."""
    outputs = {name for name, reason in structure.frozen.items() if reason == "model output"}
    small, seconds = _timed(lambda: _prune_by_torch_pruning(copy.deepcopy(model), inputs, outputs))
    shapes = [t.shape for t in _run(small, inputs)]
    if shapes != [t.shape for t in _run(model, inputs)]:
        raise ValueError("other output shapes")
    params = sum(p.numel() for p in small.parameters()) / sum(p.numel() for p in model.parameters())
    exact = {
        member.tensor.rpartition(".")[0] for g in structure.groups.values() if not g.inexact for member in g.members
    }
    others = {name for name, module in model.named_modules() if name not in exact and not list(module.children())}
    return {
        "seconds": seconds,
        "kept_params": params,
        "backward": _backward(small, inputs),
        "wrong": _wrong(model, inputs, lambda twin, x: _prune_by_torch_pruning(twin, x, others | outputs)),
    }


def _prune_by_torch_pruning(model: nn.Module, inputs: Any, ignored: set[str]) -> nn.Module:
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


def _wrong(model: nn.Module, inputs: Any, prune: Callable[[nn.Module, Any], nn.Module]) -> str | None:
    """Prune a float64 twin whose weights all differ; say how it differs from the dense twin with the rest set to zero.

    Trusts no bookkeeping: which weights were kept is read from the pruned model's values.
    """
    twin = copy.deepcopy(model).double()
    inputs = _double(inputs)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(torch.rand(p.shape, generator=generator, dtype=torch.float64) * 1e-6)
    dense = copy.deepcopy(twin)
    small = prune(twin, inputs)
    kept = torch.cat([p.detach().flatten() for p in small.parameters()]).unique()
    with torch.no_grad():
        for p in dense.parameters():
            p[~torch.isin(p, kept)] = 0
    for a, b in zip(_run(small, inputs), _run(dense, inputs), strict=True):
        if a.shape != b.shape:
            return f"shapes {list(a.shape)}, {list(b.shape)}"
        if a.is_floating_point() and a.numel():
            scale = float(b.nan_to_num().abs().max()) or 1.0
            error = float((a - b).nan_to_num().abs().max()) / scale
            if error > 1e-9:
                return f"{error:.1e}"
    return None


def _exact(structure: Structure, plan: Plan) -> Plan:
    return plan.without({name: "not exact" for name in plan.groups if structure.group(name).inexact}, structure)


def _share_in_groups(structure: Structure) -> float:
    """The share of parameters that lie in at least one prunable group."""
    inside = {member.tensor for group in structure.groups.values() for member in group.members}
    size = {name: _numel(structure, name) for name in structure.parameters}
    return sum(n for name, n in size.items() if name in inside) / max(sum(size.values()), 1)


def _in_the_way(structure: Structure) -> str:
    """The reasons that keep most parameters from being pruned."""
    inside = {member.tensor for group in structure.groups.values() for member in group.members}
    blame: Counter[str] = Counter()
    for name in structure.parameters - inside:
        reasons = {leaf.frozen for axis in structure.axes[name] for leaf in _leaves(axis) if leaf.frozen}
        for reason in reasons - {"kernel tap"}:
            blame[reason[:80]] += _numel(structure, name)
    return "; ".join(reason for reason, _ in blame.most_common(2))


def _leaves(axis: Any) -> Any:
    from secateurs.structure.axis import leaves

    return leaves(axis)


def _numel(structure: Structure, name: str) -> int:
    total = 1
    for axis in structure.axes[name]:
        total *= axis.size
    return total


def _backward(model: nn.Module, inputs: Any) -> str | None:
    try:
        outputs = outputs_of(as_call(inputs).run(model))
        sum(t.float().sum() for t in outputs if t.requires_grad).backward()  # type: ignore[union-attr]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    return None


def _run(model: nn.Module, inputs: Any) -> list[Tensor]:
    torch.manual_seed(0)
    with torch.no_grad():
        return list(outputs_of(as_call(inputs).run(model.eval())))


def _double(inputs: Any) -> Any:
    call = as_call(inputs).map(lambda t: t.double() if t.is_floating_point() else t)
    return call.kwargs or call.args


def _forward_seconds(model: nn.Module, inputs: Any) -> float:
    return median(_timed(lambda: _run(model, inputs))[1] for _ in range(4))


def _timed(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def _attempt(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return action()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(sys.argv[1])), flush=True)  # noqa: T201
