"""Benchmarks: each turns pictures or questions into samples, and says what is expected of the answer."""

from spavl.evaluate.benchmarks.advbench import ADVBENCH
from spavl.evaluate.benchmarks.anthropic_helpful import ANTHROPIC_HELPFUL
from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Unusable
from spavl.evaluate.benchmarks.do_not_answer import DO_NOT_ANSWER
from spavl.evaluate.benchmarks.figstep import FIGSTEP, FIGSTEP_TINY
from spavl.evaluate.benchmarks.harmbench_mm import HARMBENCH_MM
from spavl.evaluate.benchmarks.harmbench_text import HARMBENCH_TEXT
from spavl.evaluate.benchmarks.held_out_questions import benign_samples, harm_samples
from spavl.evaluate.benchmarks.jailbreakv import JAILBREAKV, JAILBREAKV_MINI
from spavl.evaluate.benchmarks.llava_bench import LLAVA_BENCH_COCO, LLAVA_BENCH_IN_THE_WILD
from spavl.evaluate.benchmarks.mm_safetybench import MM_SAFETYBENCH, MM_SAFETYBENCH_TINY
from spavl.evaluate.benchmarks.mossbench import MOSSBENCH
from spavl.evaluate.benchmarks.mssbench import MSSBENCH
from spavl.evaluate.benchmarks.multiple_choice import MMBENCH, MMMU, SCIENCEQA, SEED_BENCH
from spavl.evaluate.benchmarks.naming import naming_sample
from spavl.evaluate.benchmarks.or_bench import OR_BENCH
from spavl.evaluate.benchmarks.pope import POPE
from spavl.evaluate.benchmarks.siuo import SIUO
from spavl.evaluate.benchmarks.spa_vl import SPA_VL_HARM_EVAL, SPA_VL_HELP_EVAL
from spavl.evaluate.benchmarks.vlguard import VLGUARD
from spavl.evaluate.benchmarks.vlsbench import VLSBENCH
from spavl.evaluate.benchmarks.vqa import GQA, TEXTVQA, VIZWIZ, VQAV2
from spavl.evaluate.benchmarks.xstest import XSTEST

BENCHMARKS = (
    SPA_VL_HARM_EVAL,
    MM_SAFETYBENCH,
    MM_SAFETYBENCH_TINY,
    ADVBENCH,
    FIGSTEP,
    FIGSTEP_TINY,
    VLGUARD,
    SIUO,
    VLSBENCH,
    MSSBENCH,
    JAILBREAKV,
    JAILBREAKV_MINI,
    HARMBENCH_MM,
    HARMBENCH_TEXT,
    DO_NOT_ANSWER,
    XSTEST,
    MOSSBENCH,
    OR_BENCH,
    SPA_VL_HELP_EVAL,
    ANTHROPIC_HELPFUL,
    LLAVA_BENCH_COCO,
    LLAVA_BENCH_IN_THE_WILD,
    POPE,
    SCIENCEQA,
    MMBENCH,
    SEED_BENCH,
    MMMU,
    VQAV2,
    GQA,
    VIZWIZ,
    TEXTVQA,
)
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
