"""Training: direct preference optimisation of a vision-language model, stoppable and resumable at any moment."""

from spavl.train.parallel import is_follower
from spavl.train.station import TrainResult, check_ready, follow_training, train_dpo, walk_or_follow

__all__ = ["TrainResult", "check_ready", "follow_training", "is_follower", "train_dpo", "walk_or_follow"]
