"""NVIDIA DataDesigner's side; run by the interpreter of its own environment.

Pictures are base64 in the seed data: it reads paths only of pictures that it made itself.

    python -m benchmarks.build_vs_peers.datadesigner_system JOB
"""

import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

import data_designer.config as dd
import pandas as pd
from benchmarks.build_vs_peers.job import MAX_TOKENS, Job, cpu_s, say
from data_designer.interface import DataDesigner

BUFFER = 500
"""Rows of a group; what is unfinished of one is lost in a crash."""


def main() -> None:
    """Does a job and says what came of it."""
    start_cpu_s = cpu_s()
    job = Job.from_line(sys.argv[1])
    provider = dd.ModelProvider(name="loopback", endpoint=job.base_url, provider_type="openai", api_key="placeholder")
    parameters = dd.ChatCompletionInferenceParams(
        max_tokens=MAX_TOKENS, max_parallel_requests=job.concurrency, timeout=120
    )
    model = dd.ModelConfig(
        alias="m", model="m", provider="loopback", inference_parameters=parameters, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(_seed(job))
    builder.add_column(_column(job))
    designer = DataDesigner(artifact_path=Path(job.folder) / "artifacts", model_providers=[provider])
    designer.set_run_config(
        dd.RunConfig(buffer_size=min(BUFFER, job.rows), otel_metrics_port=None, disable_early_shutdown=True)
    )
    done = designer.create(builder, num_records=job.rows, dataset_name="answers", resume=dd.ResumeMode.IF_POSSIBLE)
    frame = done.load_dataset().sort_values("row")
    digest = hashlib.sha256("".join(f"{answer}\n" for answer in frame["answer"]).encode()).hexdigest()
    say(len(frame), job.rows - len(frame), digest, start_cpu_s)


def _seed(job: Job) -> dd.LocalFileSeedSource:
    """Returns the rows; they lie in a file, since the identity of a resumed run is the file's path."""
    path = Path(job.folder) / "seed.parquet"
    if not path.exists():
        rows: dict[str, Any] = {"row": range(job.rows), "prompt": [job.prompt(row) for row in range(job.rows)]}
        if job.pictures:
            rows["picture"] = [_encoded(job.picture(row)) for row in range(job.rows)]
        pd.DataFrame(rows).to_parquet(path)
    return dd.LocalFileSeedSource(path=str(path))


def _encoded(picture: Path | None) -> str:
    assert picture is not None
    return base64.b64encode(picture.read_bytes()).decode()


def _column(job: Job) -> dd.LLMTextColumnConfig:
    shown = dd.ImageContext(
        column_name="picture", data_type=dd.ModalityDataType.BASE64, image_format=dd.ImageFormat.JPG
    )
    return dd.LLMTextColumnConfig(
        name="answer",
        prompt="{{ prompt }}",
        model_alias="m",
        multi_modal_context=[shown] if job.pictures else None,
    )


if __name__ == "__main__":
    main()
