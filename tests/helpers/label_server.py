"""A MONAI Label server on this machine, and what it answers."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

from helpers.paths import ROOT

APP = ROOT / "apps" / "monailabel"
IMAGES = ("split", "stack", "subject04")
# Coronal slices lie along array axis 2.
OBLIQUE = np.array([[0.06, 0, 0.01, -3], [-0.01, 0.002, 0.06, 2], [0, 0.0625, -0.002, 5], [0, 0, 0, 1]])
# The same sums in the same order take the same number of threads.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(app, scans, log, *options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A copy, as MONAI Label writes its log beside the app.
    copy = Path(shutil.copytree(APP, app, ignore=shutil.ignore_patterns("logs", "model", "bin", "__pycache__")))
    command = [
        sys.executable,
        str(Path(__file__).with_name("guarded_server.py")),
        "start_server",
        "--app",
        str(copy),
        "--studies",
        str(scans),
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), *map(str, options)]
    with log.open("w") as file:
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT), f"http://127.0.0.1:{port}"


def infer(server, model, image, output="image", **params):
    import requests  # an environment without MONAI Label may lack it

    answer = requests.post(
        f"{server}/infer/{model}", params={"image": image, "output": output}, data={"params": json.dumps(params)}, timeout=60
    )
    return answer if output != "image" or answer.status_code != 200 else volume(answer)


def volume(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].endswith('.nii.gz"')
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))


def assert_same(found, expected):
    assert found.get_data_dtype() == np.float32
    assert np.asanyarray(found.dataobj).tobytes() == np.asanyarray(expected.dataobj).tobytes()
    assert found.affine.tobytes() == expected.affine.tobytes()
    assert found.header.binaryblock == expected.header.binaryblock


def sentence(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]
