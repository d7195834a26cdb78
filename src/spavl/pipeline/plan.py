"""The plan of the training stage: what it would do and need, from the dataset if there is one; nothing is started."""

from spavl.config import RunConfig
from spavl.models import local_folder
from spavl.pipeline.road import BUILD_STAGES, open_road
from spavl.pipeline.train import offered_pairs, training_pairs
from spavl.train.plan import Offered, TrainingPlan, plan_training


def plan_train(config: RunConfig, processes: int = 1) -> TrainingPlan:
    """Works out what `train` would do; where the dataset is not made yet, lengths are assumed.

    Args:
        config: The run's configuration.
        processes: How many processes train together.

    Raises:
        UserError: The model cannot be trained so, a pair does not fit, or another process is at work in the run.
    """
    folder = local_folder(config.models[config.train.model])
    if not config.run.is_dir():  # a plan leaves nothing behind
        return plan_training(config.train, folder, Offered(), config.seed, processes)
    with open_road(config) as road:
        if BUILD_STAGES[-1] not in road.run.manifests(BUILD_STAGES):
            return plan_training(config.train, folder, Offered(), config.seed, processes)
        pairs = training_pairs(offered_pairs(road), config.train.max_benign_share, config.seed)
        show = road.shower()
        offered = Offered(pairs, lambda image_id: show(image_id).path)
        return plan_training(config.train, folder, offered, config.seed, processes)
