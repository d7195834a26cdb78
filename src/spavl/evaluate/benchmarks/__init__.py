"""Benchmarks: each turns pictures or questions into samples, and says what is expected of the answer."""

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Unusable
from spavl.evaluate.benchmarks.held_out_questions import benign_samples, harm_samples
from spavl.evaluate.benchmarks.mm_safetybench import MM_SAFETYBENCH, MM_SAFETYBENCH_TINY
from spavl.evaluate.benchmarks.naming import naming_sample
from spavl.evaluate.benchmarks.xstest import XSTEST

BENCHMARKS = (MM_SAFETYBENCH, MM_SAFETYBENCH_TINY, XSTEST)
"""The public benchmarks that can be read; `held_out` and `naming` are made from the run's own pictures."""

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkCard",
    "Listed",
    "Unusable",
    "benign_samples",
    "harm_samples",
    "naming_sample",
]
