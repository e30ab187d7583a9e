"""What becomes of pruned models: `python -m benchmarks.zoo.use` compiles, exports, saves and loads fifteen of them.

Every figure is the largest difference from the pruned model's own outputs, relative to the largest output; a dash where
a model has no configuration, or its class has none for what the model has become.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

import secateurs as sc
from benchmarks.listing import listed
from benchmarks.zoo import BY_NAME
from secateurs.data.call import as_call
from secateurs.persist.save import save
from secateurs.structure import outputs_of
from secateurs.surgery.apply import Cut, apply_and_report
from secateurs.utils.environment import environment

RESULTS = Path(__file__).parent.parent / "results"
NAMES = """
    grouped_conv multihead_attention squeezenet1_1 resnet18 mobilenet_v3_small densenet121 convnext_atto
    vit_tiny_patch16_224 swin_tiny_patch4_window7_224 mixer_s32_224 BertForSequenceClassification GPT2LMHeadModel
    LlamaForCausalLM:grouped MixtralForCausalLM T5ForConditionalGeneration
""".split()
WAYS = ("torch.compile", "torch.export", "sc.save and sc.load", "save_pretrained and from_pretrained")


def measure(name: str, ways: tuple[str, ...] = WAYS) -> dict[str, Any]:
    """Prune one model by half and use it in these ways; a figure, an error, or None where a way is not open to it."""
    torch.manual_seed(0)
    model, inputs = BY_NAME[name].build().eval(), BY_NAME[name].inputs()
    structure = sc.trace(model, inputs)
    scores = sc.score(model, None, "l1", structure)
    cut = apply_and_report(model, sc.allocate(structure, scores, "keep:0.5", scope="local"), inputs, structure)
    call = as_call(inputs)
    actions: dict[str, Callable[[Path], Callable | None]] = {
        "torch.compile": lambda _: torch.compile(cut.model),
        "torch.export": lambda _: torch.export.export(cut.model, call.args, call.kwargs).module(),
        "sc.save and sc.load": lambda path: _saved(name, cut, path),
        "save_pretrained and from_pretrained": lambda path: _pretrained(cut, path),
    }
    row: dict[str, Any] = {"name": name}
    for way in ways:
        with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
            try:
                other = actions[way](Path(scratch) / "model")
                row[way] = None if other is None else _difference(_outputs(other, call), _outputs(cut.model, call))
            except Exception as error:
                row[way] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return row


def _saved(name: str, cut: Cut, path: Path) -> nn.Module:
    save(path, cut.model, cut.plan, cut.attributes, "l1")
    return sc.load(path, model=BY_NAME[name].build).eval()


def _pretrained(cut: Cut, path: Path) -> nn.Module | None:
    if not any(name.startswith("config.") for name in cut.attributes.get("", {})):
        return None  # no configuration says what this model has become
    cut.model.save_pretrained(path)  # type: ignore[operator]
    return type(cut.model).from_pretrained(path).eval()  # type: ignore[attr-defined]


def _outputs(model: Callable, call: Any) -> list[Tensor]:
    return [t for t in outputs_of(call.run(model)) if t.is_floating_point()]


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max()) / max(float(b.abs().max()), 1e-30) for a, b in pairs)


def main() -> None:
    """Measure all and write the table."""
    if listed(NAMES):
        return
    warnings.simplefilter("ignore")
    rows = [measure(name) for name in track(NAMES, "using")]
    lines = [f"# Pruned models in use\n\n{(__doc__ or '').strip()}\n"]
    lines += [f"Measured with {', '.join(f'{k} {v}' for k, v in environment().items())}.\n"]
    lines += ["| model | " + " | ".join(WAYS) + " |", "|---" * (1 + len(WAYS)) + "|"]
    for row in rows:
        cells = [f"{v:.0e}" if isinstance(v, float) else v or "–" for v in map(row.get, WAYS)]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    (RESULTS / "use.json").write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1))
    (RESULTS / "use.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
