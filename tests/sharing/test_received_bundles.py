"""A packed bundle on another machine: unpacked, or downloaded by MONAI, and run by what `pip install mrh-monai` brings alone."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers.bundle_runs import bundle_run
from helpers.paths import ROOT
from helpers.random_weights import with_random_weights
from mrh_monai.sharing.packing import pack

pytestmark = [pytest.mark.wheel, pytest.mark.usefixtures("undo_hooks")]
NEW = "MRH_WHEEL_PYTHON"


@pytest.fixture(scope="module", params=["this environment", "a new one"])
def python(request):
    """The interpreter of an environment, `make test-wheel` makes a new one that has the package's wheel and what it depends on alone."""
    if request.param == "this environment":
        return sys.executable
    if not os.environ.get(NEW):
        pytest.skip(f"{NEW} names no interpreter; make test-wheel makes one")
    return os.environ[NEW]


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """A folder with `mrh_nf.zip`, and the bundle that it was packed from."""
    folder = tmp_path_factory.mktemp("sent")
    bundle = with_random_weights(ROOT / "bundles" / "mrh_nf", folder, parent=True)
    (folder / "zips").mkdir()
    pack(bundle, folder / "zips" / "mrh_nf.zip")
    return folder / "zips", bundle


@pytest.fixture(scope="module")
def expected(sent, study, tmp_path_factory):
    """What the bundle predicts where it was packed."""
    out = tmp_path_factory.mktemp("expected")
    bundle_run(sent[1], "inference.yaml", datalist=str(study / "datalist.json"), output_dir=str(out), report=False)
    return (out / "subject04" / "subject04_nf.nii.gz").read_bytes()


def run_in(python, folder, *arguments):
    """Run a module elsewhere than in the checkout, as someone does who has none."""
    folder.mkdir(exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True, timeout=300, check=True)


def infer(python, bundle, study, tmp_path):
    options = (
        "--config_file",
        bundle / "configs" / "inference.yaml",
        "--datalist",
        study / "datalist.json",
        "--output_dir",
        tmp_path / "out",
    )
    run_in(python, tmp_path / "elsewhere", "monai.bundle", "run", *options)
    assert (tmp_path / "out" / "report.html").is_file()
    return (tmp_path / "out" / "subject04" / "subject04_nf.nii.gz").read_bytes()


def test_the_new_environment_has_the_wheel_and_no_tools(tmp_path):
    if not os.environ.get(NEW):
        pytest.skip(f"{NEW} names no interpreter; make test-wheel makes one")
    done = run_in(os.environ[NEW], tmp_path, "pip", "list", "--format=freeze", "--disable-pip-version-check")
    names = {line.split("==")[0].lower().replace("_", "-") for line in done.stdout.split()}
    assert "mrh-monai" in names
    assert not names & {"pytest", "dipy", "mlflow", "mat-io", "onnx", "jsonschema"}
    code = subprocess.run(
        [os.environ[NEW], "-c", "import mrh_monai; print(mrh_monai.__file__)"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ROOT not in Path(code.stdout.strip()).parents or ".venv-wheel" in code.stdout


def test_an_unpacked_bundle_infers(python, sent, study, expected, tmp_path):
    run_in(python, tmp_path, "mrh_monai.cli", "unpack", sent[0] / "mrh_nf.zip", "-o", tmp_path / "received")
    assert infer(python, tmp_path / "received" / "mrh_nf", study, tmp_path) == expected


def test_a_downloaded_bundle_infers(python, sent, study, expected, tmp_path):
    """MONAI's own way: its download from an address, and run."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(sent[0]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/mrh_nf.zip"
        try:
            run_in(python, tmp_path, "monai.bundle", "download", "--name", "mrh_nf", "--url", url, "--bundle_dir", tmp_path / "received")
        finally:
            server.shutdown()
            thread.join()
    assert infer(python, tmp_path / "received" / "mrh_nf", study, tmp_path) == expected
