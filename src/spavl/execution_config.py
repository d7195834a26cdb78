"""Configuration of where models run: in this process, or in Ray's workers on one machine or several."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from spavl.config_base import Config


class LocalExecutionConfig(Config):
    """Models run in this process."""

    kind: Literal["local"] = "local"


class RayExecutionConfig(Config):
    """Models run in workers that Ray keeps: a copy of a local model in each, or a part of a server's requests.

    Pictures and models' folders lie where every machine finds them under the same path.
    """

    kind: Literal["ray"]
    workers: int = Field(2, ge=1)
    """Processes, each with a copy of the model that is being asked."""
    cpus: float = Field(1.0, ge=0)
    """Cores that each of them reserves."""
    gpus: float = Field(0.0, ge=0)
    """GPUs that each of them reserves; a local model on one has `device: cuda`."""
    address: str | None = Field(None, pattern=r"^(auto|[^/\s]+:\d+)$")
    """A running cluster: `auto` on one of its machines, or `HOST:6379`; `null` starts one on this machine,
    which other machines cannot reach and which ends with the run."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What Ray reads when it is imported: it reports its use to nobody, and one machine's cluster stays there."""
        quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
        return quiet if self.address else quiet | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


ExecutionConfig = Annotated[LocalExecutionConfig | RayExecutionConfig, Field(discriminator="kind")]
HERE = LocalExecutionConfig()
