"""The `mrh` command in a process of its own."""

import subprocess
import sys


def mrh(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a verb as a user does."""
    command = [sys.executable, "-m", "mrh_monai.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
