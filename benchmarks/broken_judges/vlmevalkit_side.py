"""VLMEvalKit's side: its own scoring of MM-SafetyBench, with its own client, on a table of answers.

python benchmarks/broken_judges/vlmevalkit_side.py CHECKOUT TABLE ADDRESS

Its packages load every data set and every client that it has when they are imported; here they are empty packages over
the checkout's folders, so that only the two modules in question and what they import are loaded, unchanged.
"""

import importlib
import json
import sys
import types
from pathlib import Path


def main() -> None:
    """Scores the table and prints the last line of the figures, which is that of all categories."""
    checkout, table, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    for name in ("vlmeval", "vlmeval.dataset", "vlmeval.api"):
        package = types.ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    client = importlib.import_module("vlmeval.api.gpt").OpenAIWrapper
    vars(sys.modules["vlmeval.api"]).update(OpenAIWrapper=client, HFChatModel=None, SiliconFlowAPI=None)
    benchmark = importlib.import_module("vlmeval.dataset.mmsafetybench").MMSafetyBenchDataset
    judge = {"model": "peer-judge", "api_base": address, "key": "none", "retry": 1, "timeout": 10, "nproc": 8}
    score = benchmark.evaluate(None, table, **judge)
    print(json.dumps(score.to_dict("records")[-1], default=float))


if __name__ == "__main__":
    main()
