from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.data.intact_targets import with_target_masks
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.subjects.datalist import Datalist


@pytest.fixture
def torn(parts):
    """A subject whose stain is NaN in a corner of the mask."""
    subject, image, _ = parts
    stain = image[..., 0] * 100
    stain[1:3, :2] = np.nan
    write_nifti(subject.target, stain)
    return subject, np.isfinite(stain)


def test_the_finite_voxels_of_a_stain_are_its_target_mask(torn, few, tmp_path):
    subject, finite = torn
    (found,) = with_target_masks([subject], tmp_path)
    assert found.target_mask == tmp_path / "s_target_mask.nii.gz"
    np.testing.assert_array_equal(read_voxels(read_header(found.target_mask))[..., 0], finite)
    loaded = load_subject(found, few, ReadingOptions(need_target=True))
    np.testing.assert_array_equal(loaded.scored, loaded.mask & finite)


def test_a_stain_of_numbers_needs_no_mask(parts, tmp_path):
    subject = parts[0]
    assert with_target_masks([subject, replace(subject, target=None)], tmp_path) == [subject, replace(subject, target=None)]
    assert list(tmp_path.glob("*_target_mask*")) == []


def test_the_verb_lists_the_masks(call, tmp_path):
    for name in ("m1", "m2"):
        write_mrh_subject(tmp_path / name)
    stain = np.ones((16, 6, 14), np.float32)
    stain[3] = np.nan
    write_nifti(tmp_path / "m1" / "stain.nii", stain)
    write_nifti(tmp_path / "m2" / "stain.nii", np.ones((16, 6, 14), np.float32))
    words = ("--target", "stain.nii", "--target-mask", "auto", "--train", "1", "-o", tmp_path / "lists" / "d.json")
    assert call("datalist", tmp_path, *words)[0] == 0
    listed = Datalist.read(tmp_path / "lists" / "d.json")
    assert listed.training[0].target_mask.resolve() == tmp_path / "lists" / "m1_target_mask.nii.gz"
    assert listed.test[0].target_mask is None
