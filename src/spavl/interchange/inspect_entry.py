"""What Inspect loads to know spavl: every public benchmark as a task, our judges as scorers, and local models."""

from spavl.interchange.inspect_model import spavl_models
from spavl.interchange.inspect_scorer import spavl_verdict
from spavl.interchange.inspect_tasks import TASKS

__all__ = ["TASKS", "spavl_models", "spavl_verdict"]
