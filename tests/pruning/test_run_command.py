"""`secateurs prune` in processes that are killed, stopped, out of disk space, or started by torchrun."""

import json
import random
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
from support.runs import SCRIPT, build_network, labelled_images, start_command

import secateurs as sc

pytestmark = pytest.mark.slow  # starts processes

OPTIONS = "--data npz:data.npz --test npz:data.npz --validation 0.2 --criterion taylor --budget macs:0.4 --rounds 3"
OPTIONS += " --ramp cubic --epochs-between 2 --epochs 6 --patience 4 --distill-weight 0.3"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A directory with the model, its data, and a finished run in `whole`."""
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "model.py").write_text(SCRIPT)
    x, y = labelled_images()[:]
    np.savez(workspace / "data.npz", x=x.numpy(), y=y.numpy())
    assert start_command(workspace, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "whole").wait(120) == 0
    return workspace


def weight_bytes(directory):
    return (directory / "model" / "model.safetensors").read_bytes()


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(workspace, random_seed):
    events = [json.loads(line) for line in (workspace / "whole" / "log.jsonl").read_text().splitlines()]
    duration = sum(event.get("seconds", 0) for event in events)
    moments = random.Random(random_seed)
    killed, begin = 0, time.monotonic()
    command = ["prune", "py:model.py:net", *OPTIONS.split(), "--out", "killed"]
    log = workspace / "killed" / "log.jsonl"
    while True:
        before = log.stat().st_size if log.exists() else 0
        process = start_command(workspace, *command)
        while process.poll() is None and not (log.exists() and log.stat().st_size > before):
            time.sleep(0.005)
        assert time.monotonic() - begin < 200
        try:
            process.wait(moments.uniform(0, duration / 2) if killed < 6 else 120)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            if (workspace / "killed" / "run.json").exists():
                command = ["prune", "--resume", "killed"]
    assert process.returncode == 0, process.stderr.read()
    assert killed
    assert weight_bytes(workspace / "killed") == weight_bytes(workspace / "whole")
    plans = [(workspace / name / "model" / "plan.json").read_bytes() for name in ("whole", "killed")]
    assert plans[0] == plans[1]
    reports = [
        json.loads((workspace / name / "report.json").read_text())["outcomes"][0] for name in ("whole", "killed")
    ]
    assert reports[0]["quality"] == reports[1]["quality"]
    assert reports[0]["rounds"] == reports[1]["rounds"]


def test_control_c_stops_a_run_and_prints_how_to_resume_it(workspace):
    variables = {"INTERRUPT_WHEN": "stopped/stages/01-round-1"}
    process = start_command(
        workspace, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "stopped", variables=variables
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "secateurs prune --resume stopped" in errors
    assert "Traceback" not in errors
    done = start_command(workspace, "prune", "--resume", "stopped", "--json")
    output, errors = done.communicate(timeout=120)
    assert done.returncode == 0, errors
    assert json.loads(output)["command"].startswith("secateurs prune py:model.py:net --data npz:data.npz")
    assert weight_bytes(workspace / "stopped") == weight_bytes(workspace / "whole")


def test_a_full_disk_is_reported_and_the_run_can_be_resumed(workspace):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # less than the weights

    process = start_command(workspace, "prune", "py:model.py:net", *OPTIONS.split(), "--out", "full", preexec_fn=small)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "PersistError" in errors
    assert "Traceback" not in errors
    assert (workspace / "full" / "run.json").exists()
    done = start_command(workspace, "prune", "--resume", "full", "--quiet")
    output, errors = done.communicate(timeout=120)
    assert (done.returncode, output) == (0, ""), errors
    assert weight_bytes(workspace / "full") == weight_bytes(workspace / "whole")


def test_resume_refuses_other_options_and_other_directories(workspace):
    process = start_command(workspace, "prune", "--resume", "whole", "--budget", "macs:0.3")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "leave out budget" in errors
    process = start_command(workspace, "prune", "--resume", "nowhere")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "not a run's directory" in errors


def test_torchrun_gives_the_model_of_one_process(workspace):
    options = "--data npz:data.npz --test npz:data.npz --criterion taylor --budget macs:0.5 --batch-size 8 --epochs 2"
    arguments = ("prune", "py:model.py:net", *options.split(), "--json", "--out")
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "secateurs")
    together = start_command(workspace, *arguments, "both", module=torchrun)
    output, errors = together.communicate(timeout=200)
    assert together.returncode == 0, errors
    (outcome,) = json.loads(output)["outcomes"]  # printed by one process alone: two reports are not JSON
    alone = start_command(workspace, *arguments, "one")
    (expected,) = json.loads(alone.communicate(timeout=100)[0])["outcomes"]
    assert outcome["keep"] == expected["keep"]
    assert outcome["quality"]["cut"] == expected["quality"]["cut"]
    assert sc.load(workspace / "both" / "model", build_network)
    assert [event["event"] for event in map(json.loads, (workspace / "both" / "log.jsonl").open())].count("new") == 1
