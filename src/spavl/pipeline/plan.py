"""The plan of the training stage: what it would do and need, from the dataset if there is one; nothing is started."""

from spavl.config import RewardModelConfig, RlConfig, RunConfig, TrainConfig
from spavl.errors import UserError
from spavl.method_config import MethodConfig
from spavl.models import local_folder
from spavl.pipeline.road import BUILD_STAGES, open_road
from spavl.pipeline.train import learnt_pairs, offered_pairs
from spavl.train.plan import Offered, TrainingPlan, plan_training


def plannable(config: MethodConfig) -> TrainConfig | RewardModelConfig:
    """Returns settings that can be planned.

    Raises:
        UserError: They are of reinforcement learning.
    """
    if isinstance(config, RlConfig):
        raise UserError(
            f"--plan: train.method is {config.method}, whose work depends on how long its answers become; `dpo` and "
            "`reward` can be planned. Try a few rounds with train.rounds=2."
        )
    return config


def plan_train(config: RunConfig, processes: int = 1) -> TrainingPlan:
    """Works out what `train` would do; where the dataset is not made yet, lengths are assumed.

    Args:
        config: The run's configuration.
        processes: How many processes train together.

    Raises:
        UserError: The model cannot be trained so, a pair does not fit, or another process is at work in the run.
    """
    train = plannable(config.train)
    folder = local_folder(config.models[train.model])
    if not config.run.is_dir():  # a plan leaves nothing behind
        return plan_training(train, folder, Offered(), config.seed, processes)
    with open_road(config) as road:
        if BUILD_STAGES[-1] not in road.run.manifests(BUILD_STAGES):
            return plan_training(train, folder, Offered(), config.seed, processes)
        pairs = learnt_pairs(train, offered_pairs(road), config.seed)
        show = road.shower()
        offered = Offered(pairs, lambda image_id: show(image_id).path)
        return plan_training(train, folder, offered, config.seed, processes)
