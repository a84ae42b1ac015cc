import subprocess
import sys

from helpers.commands import mrh


def test_usage_errors_have_status_2_and_debug_shows_the_traceback():
    assert mrh("predict").returncode == 2
    assert mrh("predikt").returncode == 2
    done = mrh("--debug", "datalist", "nowhere", "-o", "d.json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_does_not_pay_for_torch():
    modules = "mrh_monai.cli.app, mrh_monai.subjects.subject, mrh_monai.subjects.datalist"
    code = f"import sys, {modules}; print('torch' in sys.modules, 'monai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]
