"""The direction of imports between rooms is held by the contracts of import-linter in pyproject.toml (make check)."""

import subprocess
import sys

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys, warnings
import mrh_monai
hook = sys.excepthook
modules = [m.name for m in pkgutil.walk_packages(mrh_monai.__path__, "mrh_monai.") if not m.name.endswith("__main__")]
for name in modules:
    importlib.import_module(name)
print(len(modules), sys.excepthook is hook, warnings.showwarning.__module__.startswith("mrh_monai"))
"""


def test_importing_any_module_installs_no_hook():
    """Commands and configs of bundles install hooks; a user of the library keeps tracebacks and warnings."""
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], capture_output=True, text=True, timeout=120, check=True)
    count, unchanged, warns_our_way = done.stdout.split()
    assert int(count) > 100
    assert (unchanged, warns_our_way) == ("True", "False")
