"""Reinforcement learning: rollouts of the policy, what they are worth, and the updates they lead to."""

from spavl.train.rl.prompts import Prompt, prompts_of
from spavl.train.rl.station import RlResult, train_rl

__all__ = ["Prompt", "RlResult", "prompts_of", "train_rl"]
