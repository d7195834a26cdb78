"""Training: direct preference optimisation of a vision-language model, stoppable and resumable at any moment."""

from spavl.train.station import TrainResult, train_dpo

__all__ = ["TrainResult", "train_dpo"]
