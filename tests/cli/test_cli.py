"""The command line as a user meets it: in a process of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import secateurs as sc
from secateurs.criteria.registry import CRITERIA

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))

def mlp():
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))

def number():
    return 3

def broken():
    raise KeyError("oops")

def leaving():
    raise SystemExit(0)
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=generator.normal(size=(40, 3, 8, 8)).astype("float32"), y=np.arange(40) % 2)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(4):
            pixels = generator.integers(0, 256, (9, 9, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    (tmp_path / "more" / "mixed").mkdir(parents=True)
    for size in (4, 5):
        Image.new("RGB", (size, size)).save(tmp_path / "more" / "mixed" / f"{size}.png")
    (tmp_path / "short.npz").write_bytes((tmp_path / "data.npz").read_bytes()[:300])
    return tmp_path


def run(place, *arguments, code=0):
    command = [sys.executable, "-m", "secateurs", *arguments]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "200"}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_prune_saves_a_model_and_a_page(place):
    options = "--data npz:data.npz --test npz:data.npz --out out --epochs 2 --budget macs:0.5 --floor 2".split()
    done = run(place, "prune", "py:model.py:net", *options)
    assert "Model: out/model\nPage:  out/report.html" in done.stdout
    assert done.stderr == ""  # progress is for people who watch
    for word in ("cut", "recalibrated", "recovered", "macs:0.5"):
        assert word in done.stdout
    assert (place / "out" / "report.html").read_text().startswith("<!doctype html>")
    space = {}
    exec(MODEL, space)
    small = sc.load(place / "out" / "model", model=space["net"])
    x = torch.randn(1, 3, 8, 8)
    assert sc.cost(small, x).macs <= sc.cost(space["net"](), x).macs / 2
    again = run(place, "prune", "py:model.py:net", *options, code=3)
    assert "exists already" in again.stderr
    assert again.stdout == ""
    run(place, "prune", "py:model.py:net", *options, "--overwrite")


def test_json_is_for_machines(place):
    options = "--data random:32 --input 3,8,8 --out out --criterion l1 --json".split()
    done = run(place, "prune", "py:model.py:net", *options)
    found = json.loads(done.stdout)
    assert found["outcomes"][0]["cost"]["macs"] <= found["dense"]["macs"] / 2
    assert done.stderr == ""
    wrong = run(place, "prune", "py:model.py:net", *options, "--out", "other", "--budget", "mcas:1", code=3)
    assert json.loads(wrong.stderr)["error"] == "BudgetError"


def test_folders_of_images_are_data(place):
    options = "--data folder:images --test folder:images --image-size 8 --mean 0.5 --std 0.5,0.5,0.5".split()
    done = run(place, "prune", "py:model.py:net", *options, "--out", "out", "--json")
    assert "cut" in json.loads(done.stdout)["outcomes"][0]["quality"]


def test_check_lists_groups_and_reasons(place):
    done = run(place, "check", "py:model.py:net", "--input", "3,8,8", "--keep", "3")
    assert "kept: '3'" in done.stdout
    assert "model output" in done.stdout
    found = json.loads(run(place, "check", "py:model.py:mlp", "--input", "4", "--json").stdout)
    assert [(g["name"], g["units"]) for g in found["groups"]] == [("0", 16)]
    assert found["macs"] == 4 * 16 + 16 * 3


def test_list_and_env(place):
    done = run(place, "list")
    for word in ("nexp", "2512.06440", "macs:F", "activations", "hf:PATH", "npz:PATH"):
        assert word in done.stdout
    assert set(json.loads(run(place, "list", "--json").stdout)["criteria"]) == set(CRITERIA)
    assert json.loads(run(place, "env", "--json").stdout)["torch"] == torch.__version__
    assert "torch" in run(place, "env").stdout


def test_list_criteria_says_what_each_needs_and_cannot_do(place):
    found = json.loads(run(place, "list", "criteria", "--json").stdout)
    assert set(found) == {"criteria"}
    assert found["criteria"]["fisher"]["needs"] == "gradients"
    assert all(its["limits"] and its["source"] and its["summary"] for its in found["criteria"].values())
    assert "Budgets" not in run(place, "list", "criteria").stdout


def test_an_effective_budget_is_certified_on_the_page(place):
    options = "--data npz:data.npz --test npz:data.npz --out out --criterion taylor --budget effective --aggregate max"
    done = run(place, "prune", "py:model.py:net", *options.split())
    assert "N_eff" in done.stdout
    page = (place / "out" / "report.html").read_text()
    for words in ("Effective units", "Measured, taylor: the mean loss went from", "after compensation"):
        assert words in page


def test_compensation_can_be_left_out(place):
    options = "--data npz:data.npz --criterion l1 --out out --no-compensate".split()
    run(place, "prune", "py:model.py:net", *options)
    assert "after compensation" not in (place / "out" / "report.html").read_text()


def test_mask_writes_weights_of_the_same_shapes(place):
    done = run(place, "mask", "py:model.py:net", *"--data npz:data.npz --budget 2:4 --out masked.safetensors".split())
    assert "make the model neither smaller nor faster" in done.stdout
    space = {}
    exec(MODEL, space)
    model = space["net"]()
    safetensors.torch.load_model(model, place / "masked.safetensors")
    assert (model[3].weight != 0).sum(1).max() == 4  # two of every four of the eight channels
    again = run(place, "mask", "py:model.py:net", *"--data npz:data.npz --out masked.safetensors".split(), code=3)
    assert "exists already" in again.stderr


def test_features_are_ranked_and_written(place):
    options = "--data npz:data.npz --method variance --budget keep:0.25 --out ranking".split()
    assert "25.0%" in run(place, "features", "py:model.py:net", *options).stdout
    with np.load(place / "ranking.npz") as found:
        assert found["keep"].sum() == found["scores"].size // 4 == 3 * 8 * 8 // 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check py:model.py:nothing --input 3,8,8", "no function or class 'nothing'"),
        ("check py:absent.py:net --input 3,8,8", "no file absent.py"),
        ("check model.py:net --input 3,8,8", "not of the form"),
        ("check py:model.py:number --input 3,8,8", "returned a int"),
        ("check py:model.py:broken --input 3,8,8", "KeyError"),
        ("check py:model.py:leaving --input 3,8,8", "SystemExit"),
        ("check py:model.py:net --data folder:more/mixed", "give one size"),
        ("prune py:model.py:net --data folder:images --image-size 8 --std 0 --out out", "not 0"),
        ("check py:model.py:net --data npz:short.npz", "not a readable .npz"),
        ("check py:model.py:net", "their shape"),
        ("check py:model.py:net --input 4,8,8", "does not run on the example inputs"),
        ("check py:model.py:net --input 3,8,8 --keep head", "matches no module"),
        ("check py:model.py:net --data npz:absent.npz", "not a readable .npz"),
        ("check py:model.py:net --data npz:model.py", "not a readable .npz"),
        ("check py:model.py:net --data folder:absent", "no folder"),
        ("check py:model.py:net --data folder:.", "holds no images"),
        ("check py:model.py:net --data csv:x", "not one of"),
        ("prune py:model.py:net --data npz:data.npz --out out --criterion nxep", "unknown criterion"),
        ("prune py:model.py:net --data npz:data.npz --out out --floor 0", "floor=0"),
        ("prune py:model.py:net --data random:8 --input 3,8,8 --out out --epochs 1", "nothing can be learnt"),
        ("prune py:model.py:net --data npz:data.npz --out model.py/out", "cannot be kept"),
        ("prune py:model.py:net --data npz:data.npz --out model.py", "exists already"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_3(place, arguments, message):
    before = sorted(place.iterdir())
    done = run(place, *arguments.split(), code=3)
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [p for p in sorted(place.iterdir()) if p.name != "__pycache__"] == before


@pytest.mark.parametrize(
    "arguments", ["prune", "check", "nothing", "check py:model.py:net --input 3x8", "demo --seeds 0"]
)
def test_wrong_usage_is_exit_code_2(place, arguments):
    assert "Traceback" not in run(place, *arguments.split(), code=2).stderr
