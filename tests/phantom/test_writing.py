from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from helpers.phantoms import SMALL
from mrh_monai.errors import OptionError
from mrh_monai.phantom.digital_brain import make_subject
from mrh_monai.phantom.writing import make_phantom, write_phantom


def test_subjects_are_written_in_the_published_layout(tmp_path):
    folders = list(write_phantom(tmp_path / "new", 2, SMALL, seed=3))
    assert [folder.relative_to(tmp_path / "new") for folder in folders] == [Path("subject01"), Path("subject02")]
    subject = make_subject(1, SMALL, seed=3)
    files = {
        "rigidaffine_Lddm_dwi2000.img": subject.image[..., :32],
        "rigidaffine_Lddm_dwi5000.img": subject.image[..., 32:64],
        "rigidaffine_lddm_t2MTONOFF.img": subject.image[..., 64:],
        "rigidaffine_Lddm_fa.img": subject.fa,
        "Masked_outline.img": subject.mask,
        "targets/AllenPathology2P60.img": subject.stains["af"],
        "targets/NF.img": subject.stains["nf"],
        "targets/MBP.img": subject.stains["mbp"],
    }
    for name, voxels in files.items():
        image = nibabel.load(folders[1] / name)
        assert image.shape == voxels.shape
        assert image.get_data_dtype() == voxels.dtype
        assert image.header.get_zooms()[:3] == (0.0625,) * 3
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    truth = np.load(folders[1] / "truth.npz")
    np.testing.assert_array_equal(truth["noise_free"], subject.noise_free)
    assert float(truth["noise_sigma"]) == subject.noise_sigma
    for name, values in subject.latent.items():
        np.testing.assert_allclose(truth[f"latent_{name}"], values, atol=1e-3)
    for name, values in subject.noise_free_stains.items():
        np.testing.assert_allclose(truth[f"stain_{name}"], values, rtol=1e-3, atol=1e-3)


def test_a_subject_does_not_depend_on_how_many_are_written(tmp_path):
    few, many = (list(write_phantom(tmp_path / str(n), n, (24, 3, 24), seed=9)) for n in (1, 3))
    for file in sorted(few[0].rglob("*.img")):
        assert file.read_bytes() == (many[0] / file.relative_to(few[0])).read_bytes()


def test_no_subject_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match="subjects: expected at least 1, found 0"):
        next(write_phantom(tmp_path / "none", 0))
    assert not (tmp_path / "none").exists()


def test_make_phantom_writes_what_write_phantom_yields(tmp_path):
    folders = make_phantom(tmp_path / "made", 2, (24, 3, 24), seed=9)
    for made, written in zip(folders, write_phantom(tmp_path / "written", 2, (24, 3, 24), seed=9), strict=True):
        for file in sorted(made.rglob("*.img")):
            assert file.read_bytes() == (written / file.relative_to(made)).read_bytes()
