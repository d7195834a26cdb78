"""Training: direct preference optimisation of a vision-language model, stoppable and resumable at any moment."""

from spavl.train.parallel import is_follower, leading
from spavl.train.station import TrainResult, follow_training, train_dpo

__all__ = ["TrainResult", "follow_training", "is_follower", "leading", "train_dpo"]
