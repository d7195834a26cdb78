"""The whole road: `build` makes the dataset, `train` aligns the model on it, `evaluate` measures before and after."""

from spavl.pipeline.build import build
from spavl.pipeline.evaluate import evaluate
from spavl.pipeline.road import ALL_STAGES, STAGES, Road, open_road
from spavl.pipeline.train import Checkpoint, train

__all__ = ["ALL_STAGES", "STAGES", "Checkpoint", "Road", "build", "evaluate", "open_road", "train"]
