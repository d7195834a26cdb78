"""Starts lmms-eval's command where transformers know the embedded model's tower; of spavl it imports that alone."""

import runpy

import spavl.embedded.tower  # noqa: F401  # registers the tower with transformers

runpy.run_module("lmms_eval", run_name="__main__", alter_sys=True)
