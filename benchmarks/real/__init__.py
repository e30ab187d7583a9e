"""Experiments on real networks and data: `python -m benchmarks.real NAME` measures, `make results` renders.

An experiment is a module of this package with an `EXPERIMENT` (see `benchmarks.real.experiment`), named in `NAMES`.
What it measures is appended to `benchmarks/results/real/NAME.jsonl`, one line per cell, and `benchmarks/RESULTS.md` is
rendered from these lines alone. The data is that of ../shared, or of the folder that SECATEURS_DATA names.
"""

NAMES = ("cifar", "vgg", "initialisation", "mnist", "mobilenet", "latency")
"""The experiments, in the order of their sections."""
