"""An evaluation by spavl beside the same evaluation by Inspect and by lmms-eval."""
