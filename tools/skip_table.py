"""Print which tests were skipped, how often and why, from the result files that `make test-all` lets pytest write.

    python3 tools/skip_table.py FOLDER

The folder holds a file ``TARGET.xml`` for every target (``pytest --junitxml``), and a file ``failed`` with the name of every target that
failed, one a line. The exit status is 1 if anything failed. The script needs no package, so it also runs where an environment is missing.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Results:
    """What one target, or several together, found.

    Attributes:
        passed: Number of tests that passed.
        failed: Number of tests that failed or broke off.
        skipped: Number of skipped tests by reason.
        expected_failures: Number of tests that are marked ``xfail`` and failed.
    """

    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    expected_failures: int = 0

    def add(self, other: Results) -> None:
        """Count another target's results too."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.expected_failures += other.expected_failures

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {sum(self.skipped.values())} skipped"


def skip_reason(skipped: ElementTree.Element) -> str:
    """Return the reason of a skipped test.

    A file that is skipped as a whole has its reason at the end of a printed tuple: ``('FILE', 14, 'Skipped: REASON')``.
    """
    message = skipped.get("message", "")
    if message == "collection skipped":
        whole_file = re.search(r"""["']Skipped: (.*)["']\)\s*$""", skipped.text or "", re.DOTALL)
        message = whole_file[1] if whole_file else (skipped.text or "")
    return " ".join(message.removeprefix("Skipped: ").split()) or "no reason given"


def read_results(path: Path) -> Results:
    """Return the counts of a result file of pytest."""
    results = Results()
    for test in ElementTree.parse(path).iter("testcase"):
        skipped = test.find("skipped")
        if test.find("failure") is not None or test.find("error") is not None:
            results.failed += 1
        elif skipped is None:
            results.passed += 1
        elif skipped.get("type") == "pytest.xfail":
            results.expected_failures += 1
        else:
            results.skipped[skip_reason(skipped)] += 1
    return results


def summary(folder: Path) -> tuple[str, bool]:
    """Return the table as text, and whether everything passed."""
    by_target = {path.stem: read_results(path) for path in sorted(folder.glob("*.xml"), key=lambda path: path.stat().st_mtime_ns)}
    failures = folder / "failed"
    failed_targets = failures.read_text(encoding="utf-8").splitlines() if failures.is_file() else []
    total = Results()
    lines = ["", "Skipped tests", f"  {'times':>5}  {'target':18}reason"]
    for target, results in by_target.items():
        total.add(results)
        lines += [f"  {count:5}  {target:18}{reason}" for reason, count in results.skipped.most_common()]
    if not total.skipped:
        lines[1:] = ["No test was skipped."]
    lines += ["", "Results"] + [f"  {target:18}{results}" for target, results in by_target.items()]
    if total.expected_failures:
        lines.append(f"  Failed as their marks `xfail` expect: {total.expected_failures} tests.")
    for target in failed_targets:
        known = target.removeprefix("make ") in by_target
        lines.append(f"  {target} failed{'' if known else ' before its tests began'}; its output stands above.")
    passed = not failed_targets and not total.failed and bool(by_target)
    return "\n".join([*lines, "", str(total)]), passed


def main(arguments: list[str]) -> int:
    """Print the table and return the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("Expected one argument, a folder with the result files of pytest. `make test-all` makes it.", file=sys.stderr)
        return 2
    text, passed = summary(Path(arguments[0]))
    print(text)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
