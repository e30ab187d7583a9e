"""`secateurs compare` in processes that fail, are stopped, or are killed."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.sweeps import write_sweep_files

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory with models and data, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_sweep_files(tmp_path)


def test_the_command_reports_failed_cells_and_resumes(directory):
    arguments = "compare py:model.py:net --data npz:data.npz --test npz:data.npz --criteria hrank,l2 --budgets macs:0.5"
    command = [sys.executable, "-m", "secateurs", *arguments.split(), "--seeds", "1", "--out", "swept"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 4, done.stderr
    assert "Failed: hrank macs:0.5 seed 0" in done.stdout
    resumed = [*command[:3], "compare", "--resume", "swept", "--json"]
    done = subprocess.run(resumed, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 4, done.stderr
    report = json.loads(done.stdout)
    assert {outcome["criterion"] for outcome in report["outcomes"]} == {"l2", "l1", "random"}
    assert report["command"].startswith("secateurs compare py:model.py:net")


def start_comparison(directory):
    """Start a long comparison in a session of its own, and wait until its first cells run."""
    arguments = (
        "compare py:model.py:net --data npz:data.npz --test npz:data.npz --criteria l2 --epochs 4000 --out stopped"
    )
    command = [sys.executable, "-m", "secateurs", *arguments.split(), "--batch-size", "4"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "COLUMNS": "200"}, **pipes)
    wait_for(lambda: list((directory / "stopped").glob("cells/*/stages/*")))
    return process


def wait_for(condition, seconds=300):
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.05)


def running(session):
    """The processes of a session."""
    live = (process for process in psutil.process_iter() if process.status() != psutil.STATUS_ZOMBIE)
    return [process for process in live if os.getsid(process.pid) == session]


def test_workers_end_when_the_parent_is_killed(directory):
    process = start_comparison(directory)
    assert len(running(process.pid)) > 2
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not running(process.pid))


def test_control_c_stops_all_processes_and_prints_how_to_resume(directory):
    process = start_comparison(directory)
    os.killpg(process.pid, signal.SIGINT)  # like a terminal
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.strip() == "Stopped. To continue: secateurs compare --resume stopped"
    logs = [path.read_text() for path in (directory / "stopped").glob("cells/*/log.jsonl")]
    time.sleep(1)
    assert [path.read_text() for path in (directory / "stopped").glob("cells/*/log.jsonl")] == logs
    assert not (directory / "stopped" / "report.html").exists()
