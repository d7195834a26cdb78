"""Benchmarks: each turns pictures or questions into samples, and says what is expected of the answer."""

from spavl.evaluate.benchmarks.held_out_questions import benign_samples, harm_samples
from spavl.evaluate.benchmarks.naming import naming_sample

__all__ = ["benign_samples", "harm_samples", "naming_sample"]
