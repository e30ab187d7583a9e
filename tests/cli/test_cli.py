"""The command line: outputs, exit codes and files."""

import json
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
def directory(tmp_path, monkeypatch):
    """A directory with a model file and data of several kinds, which is the working directory."""
    monkeypatch.chdir(tmp_path)
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


def test_prune_saves_a_model_and_a_page(directory, run):
    options = "--data npz:data.npz --test npz:data.npz --out out --epochs 2 --budget macs:0.5 --floor 2".split()
    done = run("prune", "py:model.py:net", *options)
    assert "Model: out/model\nPage:  out/report.html" in done.out
    assert done.err == ""  # progress is shown only on a terminal
    for word in ("cut", "recalibrated", "recovered", "macs:0.5"):
        assert word in done.out
    assert (directory / "out" / "report.html").read_text().startswith("<!doctype html>")
    namespace = {}
    exec(MODEL, namespace)
    small = sc.load(directory / "out" / "model", model=namespace["net"])
    x = torch.randn(1, 3, 8, 8)
    assert sc.cost(small, x).macs <= sc.cost(namespace["net"](), x).macs / 2
    again = run("prune", "py:model.py:net", *options, code=3)
    assert "exists already" in again.err
    assert again.out == ""
    run("prune", "py:model.py:net", *options, "--overwrite")


@pytest.mark.slow
def test_the_command_runs_in_a_process(directory):
    def start(*arguments):
        return subprocess.run([sys.executable, "-m", "secateurs", *arguments], capture_output=True, text=True)

    assert json.loads(start("env", "--json").stdout)["torch"] == torch.__version__
    refused = start("check", "py:absent.py:net", "--input", "3,8,8")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "no file absent.py" in refused.stderr


def test_json_output_contains_nothing_else(directory, run):
    options = "--data random:32 --input 3,8,8 --out out --criterion l1 --json".split()
    done = run("prune", "py:model.py:net", *options)
    report = json.loads(done.out)
    assert report["outcomes"][0]["cost"]["macs"] <= report["dense"]["macs"] / 2
    assert done.err == ""
    wrong = run("prune", "py:model.py:net", *options, "--out", "other", "--budget", "mcas:1", code=3)
    assert json.loads(wrong.err)["error"] == "BudgetError"


def test_folders_of_images_are_read_as_data(directory, run):
    options = "--data folder:images --test folder:images --image-size 8 --mean 0.5 --std 0.5,0.5,0.5".split()
    done = run("prune", "py:model.py:net", *options, "--out", "out", "--json")
    assert "cut" in json.loads(done.out)["outcomes"][0]["quality"]


def test_check_lists_groups_and_reasons(directory, run):
    done = run("check", "py:model.py:net", "--input", "3,8,8", "--keep", "3")
    assert "kept: '3'" in done.out
    assert "model output" in done.out
    listed = json.loads(run("check", "py:model.py:mlp", "--input", "4", "--json").out)
    assert [(g["name"], g["units"]) for g in listed["groups"]] == [("0", 16)]
    assert listed["macs"] == 4 * 16 + 16 * 3


def test_list_and_env_print_tables_and_json(directory, run):
    done = run("list")
    for word in ("nexp", "2512.06440", "macs:F", "activations", "hf:PATH", "npz:PATH"):
        assert word in done.out
    assert set(json.loads(run("list", "--json").out)["criteria"]) == set(CRITERIA)
    assert json.loads(run("env", "--json").out)["torch"] == torch.__version__
    assert "torch" in run("env").out


def test_list_criteria_states_needs_limits_and_sources(directory, run):
    listed = json.loads(run("list", "criteria", "--json").out)
    assert set(listed) == {"criteria"}
    assert listed["criteria"]["fisher"]["needs"] == "gradients"
    assert all(row["limits"] and row["source"] and row["summary"] for row in listed["criteria"].values())
    assert "Budgets" not in run("list", "criteria").out


def test_an_effective_budget_is_certified_on_the_page(directory, run):
    options = "--data npz:data.npz --test npz:data.npz --out out --criterion taylor --budget effective --aggregate max"
    done = run("prune", "py:model.py:net", *options.split())
    assert "N_eff" in done.out
    page = (directory / "out" / "report.html").read_text()
    for words in ("Effective units", "taylor: the measured mean loss changed from", "after compensation"):
        assert words in page


def test_no_compensate_leaves_out_compensation(directory, run):
    options = "--data npz:data.npz --criterion l1 --out out --no-compensate".split()
    run("prune", "py:model.py:net", *options)
    assert "after compensation" not in (directory / "out" / "report.html").read_text()


def test_mask_writes_weights_of_the_same_shapes(directory, run):
    done = run("mask", "py:model.py:net", *"--data npz:data.npz --budget 2:4 --out masked.safetensors".split())
    assert "make the model neither smaller nor faster" in done.out
    namespace = {}
    exec(MODEL, namespace)
    model = namespace["net"]()
    safetensors.torch.load_model(model, directory / "masked.safetensors")
    assert (model[3].weight != 0).sum(1).max() == 4  # two of every four channels are kept
    again = run("mask", "py:model.py:net", *"--data npz:data.npz --out masked.safetensors".split(), code=3)
    assert "exists already" in again.err


def test_features_are_ranked_and_written(directory, run):
    options = "--data npz:data.npz --method variance --budget keep:0.25 --out ranking".split()
    assert "25.0%" in run("features", "py:model.py:net", *options).out
    with np.load(directory / "ranking.npz") as arrays:
        assert arrays["keep"].sum() == arrays["scores"].size // 4 == 3 * 8 * 8 // 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check py:model.py:nothing --input 3,8,8", "no function or class 'nothing'"),
        ("check py:absent.py:net --input 3,8,8", "no file absent.py"),
        ("check model.py:net --input 3,8,8", "has none of the forms"),
        ("check py:model.py:number --input 3,8,8", "returned a int"),
        ("check py:model.py:broken --input 3,8,8", "KeyError"),
        ("check py:model.py:leaving --input 3,8,8", "SystemExit"),
        ("check py:model.py:net --data folder:more/mixed", "set one size"),
        ("prune py:model.py:net --data folder:images --image-size 8 --std 0 --out out", "std no 0"),
        ("check py:model.py:net --data npz:short.npz", "not a readable .npz"),
        ("check py:model.py:net", "random inputs need a shape: give --input"),
        ("check py:model.py:net --input 4,8,8", "does not run on the example inputs"),
        ("check py:model.py:net --input 3,8,8 --keep head", "matches no module"),
        ("check py:model.py:net --data npz:absent.npz", "not a readable .npz"),
        ("check py:model.py:net --data npz:model.py", "not a readable .npz"),
        ("check py:model.py:net --data folder:absent", "does not exist"),
        ("check py:model.py:net --data folder:.", "contains no images"),
        ("check py:model.py:net --data csv:x", "has none of the forms"),
        ("prune py:model.py:net --data npz:data.npz --out out --criterion nxep", "unknown criterion"),
        ("prune py:model.py:net --data npz:data.npz --out out --floor 0", "floor=0"),
        (
            "prune py:model.py:net --data random:8 --input 3,8,8 --out out --epochs 1",
            "have no labels to train on: give --train",
        ),
        ("prune py:model.py:net --data npz:data.npz --out model.py/out", "cannot be stored"),
        ("prune py:model.py:net --data npz:data.npz --out model.py", "exists already"),
    ],
)
def test_invalid_input_gives_an_error_without_traceback_and_exit_code_3(directory, run, arguments, message):
    before = sorted(directory.iterdir())
    done = run(*arguments.split(), code=3)
    assert message in done.err.replace("\n", " ")
    assert "Traceback" not in done.err
    assert done.out == ""
    assert [p for p in sorted(directory.iterdir()) if p.name != "__pycache__"] == before


@pytest.mark.parametrize(
    "arguments", ["prune", "check", "nothing", "check py:model.py:net --input 3x8", "demo --seeds 0"]
)
def test_invalid_usage_gives_exit_code_2(directory, run, arguments):
    assert "Traceback" not in run(*arguments.split(), code=2).err
