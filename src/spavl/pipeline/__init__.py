"""The whole road: `build` makes the dataset, `train` aligns the model on it, `evaluate` measures before and after.

Importing this package does not import torch; `pipeline.train` does.
"""

from spavl.pipeline.build import build
from spavl.pipeline.evaluate import evaluate
from spavl.pipeline.road import ALL_STAGES, STAGES, TRAININGS, Road, open_road

__all__ = ["ALL_STAGES", "STAGES", "TRAININGS", "Road", "build", "evaluate", "open_road"]
