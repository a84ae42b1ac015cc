"""What the MONAI Deploy application is tried on, and the application in this process."""

import json
import shutil
import sys
import warnings

import nibabel
import numpy as np
import pytest

from helpers.bundle_runs import bundle_run
from helpers.deploy_application import APP, OBLIQUE, undone
from helpers.paths import BUNDLE
from helpers.random_weights import with_random_weights
from helpers.subjects import write_nifti
from mrh_monai.subjects.datalist import Datalist
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_subject


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The AF bundle with a network of random weights and an interval head."""
    return with_random_weights(BUNDLE, tmp_path_factory.mktemp("bundle"), multipliers=(1.0, 2.0))


@pytest.fixture(scope="module")
def inputs(study, tmp_path_factory):
    """A folder of all kinds: two subject folders, a 4D image on an oblique grid, a manifest with its files, and what is no subject."""
    root = tmp_path_factory.mktemp("inputs")
    for name in ("subject03", "subject04"):
        shutil.copytree(study / name, root / name)
    parts = [nibabel.load(study / "subject02" / f"rigidaffine_{part}.img") for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    image = np.concatenate([np.asarray(part.dataobj) for part in parts], axis=3)
    mask = np.asarray(nibabel.load(study / "subject02" / "Masked_outline.img").dataobj).reshape(image.shape[:3])
    write_nifti(root / "mouse.nii.gz", image, OBLIQUE)
    write_nifti(root / "mouse_mask.nii.gz", mask, OBLIQUE)
    turned = OBLIQUE[:, [0, 2, 1, 3]]  # coronal along axis 2
    write_nifti(root / "scan.nii", image.transpose(0, 2, 1, 3), turned)
    write_nifti(root / "outline.nii", mask.transpose(0, 2, 1), turned)
    manifest = {"image": "scan.nii", "mask": "outline.nii", "slices": [[1, 4]], "coronal_axis": 2}
    (root / "rat.mrh.json").write_text(json.dumps(manifest))
    (root / "notes.txt").write_text("to be left alone")
    return root


@pytest.fixture(scope="module")
def subjects(inputs):
    """What the folder of all kinds holds, written down by hand."""
    return [
        Subject("mouse", (inputs / "mouse.nii.gz",), inputs / "mouse_mask.nii.gz"),
        Subject("rat", (inputs / "scan.nii",), inputs / "outline.nii", slices=((1, 4),), coronal_axis=2),
        find_subject(inputs / "subject03"),
        find_subject(inputs / "subject04"),
    ]


@pytest.fixture(scope="module")
def reference(bundle, subjects, tmp_path_factory):
    """Results of `monai.bundle run` on the same subjects."""
    root = tmp_path_factory.mktemp("reference")
    Datalist(test=tuple(subjects)).write(root / "datalist.json")
    options = {"datalist": str(root / "datalist.json"), "output_dir": str(root / "out"), "device": "cpu", "report": False}
    with undone():
        bundle_run(bundle, "inference.yaml", **options)
    return root / "out"


@pytest.fixture(scope="module")
def app():
    """The application's module; its neighbours can be imported then."""
    sys.path.insert(0, str(APP))
    with undone(), warnings.catch_warnings():
        import app

        yield app
    sys.path.remove(str(APP))


@pytest.fixture
def call(app, capfd):
    """Run the application in this process: exit status, lines of output, lines of errors."""

    def main(*words):
        with undone():
            status = app.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return status, out.splitlines(), err.splitlines()

    return main
