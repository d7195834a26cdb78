"""What importing the judges costs."""

import subprocess
import sys


def test_importing_the_judges_does_not_import_torch() -> None:
    code = "import spavl.judges, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
