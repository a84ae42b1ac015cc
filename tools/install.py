"""Install packages with pip and show the progress.

    .venv/bin/python tools/install.py [ARGUMENTS OF PIP INSTALL]

pip says nothing while it unpacks two gigabytes, and it compiles every file on one core. This script prints a line while pip works, and
compiles on all cores afterwards. On a terminal, the line is written again and again in the same place. In a log file, a new line appears
every few seconds. If pip fails, its last lines are shown.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PACKAGES = Path(sysconfig.get_paths()["purelib"])
SECONDS_BETWEEN_LINES = 5.0
LINES_SHOWN_AFTER_FAILURE = 30
LINE_WIDTH = 78


class Progress:
    """The stage of the work and its last package, read from the lines that pip prints."""

    def __init__(self) -> None:
        self.collected: list[str] = []
        self.to_install: list[str] = []
        self.compiling = False
        self.began = time.time()
        self.last_lines: deque[str] = deque(maxlen=LINES_SHOWN_AFTER_FAILURE)

    def read(self, line: str) -> None:
        """Take in a line of pip."""
        self.last_lines.append(line)
        words = line.split()
        if line.startswith("Collecting ") and len(words) > 1:
            self.collected.append(re.split(r"[^\w.-]", words[1])[0])
        elif line.startswith("Processing ") and len(words) > 1:
            self.collected.append(Path(words[1]).name.split("-")[0])
        elif line.startswith("Installing collected packages: "):
            self.to_install = line.partition(": ")[2].strip().split(", ")

    def read_all(self, lines: Iterable[str]) -> None:
        """Take in every line of pip until its output ends."""
        for line in lines:
            self.read(line.rstrip())

    def __str__(self) -> str:
        if self.compiling:
            return "compiling the packages, so that programs start quickly"
        if self.to_install:
            done = min(count_installed_since(self.began), len(self.to_install) - 1)
            return f"installing package {done + 1} of {len(self.to_install)}: {self.to_install[done]}"
        if self.collected:
            return f"downloading package {len(self.collected)}: {self.collected[-1]}"
        return "asking which packages are needed"


def count_installed_since(moment: float) -> int:
    """Return the number of packages that were written into this Python's environment since a moment."""
    count = 0
    for folder in PACKAGES.glob("*.dist-info"):
        with suppress(FileNotFoundError):  # pip renames the folders of packages that it replaces
            count += folder.stat().st_mtime >= moment
    return count


def show_until_ended(process: subprocess.Popen[str], progress: Progress, start: float) -> int:
    """Show the progress until the process has ended, and return its exit status."""
    terminal = sys.stdout.isatty()
    shown_at = time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = time.monotonic()
        if terminal or now - shown_at >= SECONDS_BETWEEN_LINES:
            line = f"  {now - start:4.0f} s  {progress}"[:LINE_WIDTH]
            print(f"\r{line:{LINE_WIDTH}}" if terminal else line, end="" if terminal else "\n", flush=True)
            shown_at = now
    if terminal:
        print("\r" + " " * LINE_WIDTH + "\r", end="", flush=True)
    return process.returncode


def main(arguments: list[str]) -> int:
    """Install, compile, and return the exit status of pip."""
    start, progress = time.monotonic(), Progress()
    pip = [sys.executable, "-u", "-m", "pip", "install", "--no-compile", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    process = subprocess.Popen(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    reader = threading.Thread(target=progress.read_all, args=[process.stdout], daemon=True)
    reader.start()
    status = show_until_ended(process, progress, start)
    reader.join()
    if status:
        print("\n".join(progress.last_lines))
        return status
    progress.compiling = True
    # Tests of other packages are a quarter of all files, and nobody runs them. Some packages bring templates that are no valid Python; pip
    # leaves them out in silence, and so does this.
    compiling = [sys.executable, "-m", "compileall", "-q", "-q", "-j", "0", "-x", r"[/\\]tests[/\\]", str(PACKAGES)]
    show_until_ended(subprocess.Popen(compiling, stdout=subprocess.DEVNULL, text=True), progress, start)
    print(f"  {time.monotonic() - start:4.0f} s  installed {len(progress.to_install)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
