"""Evaluation: accuracy, loss, perplexity, latency, speed of generation, and lm-evaluation-harness."""

from secateurs.evaluate.generation import tokens_per_second
from secateurs.evaluate.harness import harness
from secateurs.evaluate.latency import latencies
from secateurs.evaluate.perplexity import perplexity, predicts_tokens
from secateurs.evaluate.quality import accuracy, mean_loss

__all__ = ["accuracy", "harness", "latencies", "mean_loss", "perplexity", "predicts_tokens", "tokens_per_second"]
