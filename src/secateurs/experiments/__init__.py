"""Experiments: jobs named by text, sweeps of jobs, worker processes, studies and the demo."""

from secateurs.experiments.demo import run_demo
from secateurs.experiments.job import Job
from secateurs.experiments.read_job import read_job
from secateurs.experiments.run_job import MODEL, run_job
from secateurs.experiments.sweep import Sweep
from secateurs.experiments.workers import on_ray, on_this_machine

__all__ = ["MODEL", "Job", "Sweep", "on_ray", "on_this_machine", "read_job", "run_demo", "run_job"]
