"""The small vision-language model that comes with spavl: the local model, on the folder that `embedded` assembles."""

import functools
from collections.abc import Sequence
from typing import Any

from spavl.config import EmbeddedModelConfig, HfModelConfig
from spavl.embedded.assembly import DELTA, mini_vlm_folder, verified_digest
from spavl.models.base import Reply, Request
from spavl.models.hf import HfModel

DTYPE = "bfloat16"
"""The same as an aligned copy of it is opened with, so that before and after differ in their weights only."""


class EmbeddedModel:
    """The embedded model; its folder is assembled from installed packages at the first request."""

    concurrency = 1

    def __init__(self, config: EmbeddedModelConfig) -> None:
        settings = HfModelConfig(kind="hf", path="the embedded model", dtype=DTYPE, batch_size=config.batch_size)
        self._local = HfModel(settings, folder=mini_vlm_folder)

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """The digest of the trained part; the rest comes from packages of fixed versions.

        Raises:
            UserError: The trained part is damaged.
        """
        return {"kind": "embedded", "weights": verified_digest(DELTA), "dtype": DTYPE}

    @property
    def group_size(self) -> int:
        """Requests of one batch."""
        return self._local.group_size

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests as one group.

        Raises:
            UserError: A package that the model is made of is missing.
        """
        return await self._local.generate(requests)

    async def close(self) -> None:
        """Frees the weights."""
        await self._local.close()
