"""Predictions with records, and what a page says of them, for the tests of reports."""

import base64
import gzip
import html
import json
import re

import nibabel
import numpy as np
import pytest

from mrh_monai.inference.prediction_record import input_state, write_record
from mrh_monai.inference.provenance import about_subject
from mrh_monai.io.nibabel_files import write_nifti
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.report.page import write_report
from mrh_monai.report.predicted_subject import find_predictions, read_predicted_subject
from mrh_monai.report.viewer import viewer_script

MADE_BY = {"weights": "a" * 64, "sidecar": "b" * 64, "precision": "float32"}
VIEWER = viewer_script()
needs_viewer = pytest.mark.skipif(VIEWER is None, reason="NiiVue comes with nilearn, which is not installed")


def predict(out, files, about, seed=0, made_by=MADE_BY):
    """A finished prediction, its stain the target with noise, or noise alone."""
    header = read_header(files.mask)
    mask = read_voxels(header)[..., 0] > 0
    target = read_voxels(read_header(files.target))[..., 0].astype(float) if files.target else np.full(mask.shape, 100.0)
    stain = (target + np.random.default_rng(seed).normal(0, 20, mask.shape)) * mask
    path = out / files.name / f"{files.name}_af.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, stain.astype(np.float32), header.affine)
    write_record(path, input_state(files) | {"made_by": made_by, "about": about | about_subject(files)})
    return stain.astype(np.float32)


def read(folder, **options):
    """The page without NiiVue's source."""
    text = write_report(folder, **options).read_text()
    return text if VIEWER is None else text.replace(VIEWER, "")


def cells(page):
    return [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)]
            for row in re.findall(r"<tr.*?</tr>", page, re.S)]  # fmt: skip


def checks_of(folder):
    (prediction,) = find_predictions(folder)
    return {check.what: (check.found, check.good) for check in read_predicted_subject(prediction).checks}


def volumes_of(page):
    (text,) = re.findall(r'<script type="application/json" id="volumes">(.*?)</script>', page, re.S)
    volumes = json.loads(text)
    return {v["label"]: nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(v["b64"]))) for v in volumes}


def picture(path, text=b"png"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return "data:image/png;base64," + base64.b64encode(text).decode()
