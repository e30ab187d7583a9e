"""Benchmarks of Secateurs: trace, prune and compare many models."""
