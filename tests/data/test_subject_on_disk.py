import gzip
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject, open_subject
from mrh_monai.errors import MRHWarning, OptionError, SubjectError
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_subject


@pytest.fixture
def parts(tmp_path, rng):
    """A subject of two files with its voxels (6, 5, 4, 3), the second packed."""
    image = rng.uniform(10, 90, (6, 5, 4, 3)).astype(np.float32)
    image[..., 2] *= 2
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[1:5] = 1
    target = rng.uniform(1, 200, (6, 5, 4)).astype(np.float32)
    files = {"qa.nii": image[..., 0], "mt.nii.gz": image[..., 1:], "mask.nii.gz": mask, "target.nii": target}
    paths = {name: write_nifti(tmp_path / name, voxels) for name, voxels in files.items()}
    return Subject("s", (paths["qa.nii"], paths["mt.nii.gz"]), paths["mask.nii.gz"], target=paths["target.nii"]), image


@pytest.mark.parametrize("slices", [None, ((1, 3),)])
def test_streamed_is_loaded(parts, few, slices):
    subject = replace(parts[0], slices=slices)
    streamed, loaded = (read(subject, few, ReadingOptions(need_target=True)) for read in (open_subject, load_subject))
    np.testing.assert_array_equal(streamed.slabs.slab(0, 5, 1), loaded.slabs.slab(0, 5, 1))
    for name in ("mask", "affine", "level_values", "target", "scored"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(loaded, name))
    assert (streamed.name, streamed.largest) == ("s", None)
    assert open_subject(subject, few).target is None


def test_streamed_is_loaded_in_mrh_nets_layout(study, tmp_path):
    folder = shutil.copytree(study / "subject01", tmp_path / "subject01")
    streamed, loaded = (read(find_subject(folder), MRH_NET, ReadingOptions(support="fa")) for read in (open_subject, load_subject))
    np.testing.assert_array_equal(streamed.slabs.slab(2, 4), loaded.slabs.slab(2, 4))
    np.testing.assert_array_equal(streamed.mask, loaded.mask)


def test_what_is_wrong_is_refused_as_when_loaded(parts, few):
    subject, image = parts
    image[2, 2, 2, 1] = np.nan
    write_nifti(subject.image[1], image[..., 1:])
    for read in (open_subject, load_subject):
        with pytest.raises(SubjectError, match="mt.nii.gz: expected numbers inside the mask in channel mt_on, found 1 NaN or Inf"):
            read(subject, few)
        with pytest.raises(OptionError, match="nan: expected refuse or zero, found 'skip'"):
            read(subject, few, ReadingOptions(nan="skip"))
    with pytest.warns(MRHWarning, match="1 NaN or Inf inside the mask in 1 channel"):
        opened = open_subject(subject, few, ReadingOptions(nan="zero"))
    assert opened.slabs.slab(2, 3)[3, 0, 3, 1] == 0
    image[1:5, ..., 1] = 0
    write_nifti(subject.image[1], image[..., 1:])
    for read in (open_subject, load_subject):
        with pytest.raises(SubjectError, match="expected signal in channel mt_on, found only zeros in the mask"):
            read(subject, few)


def test_swapped_channels_are_seen(parts, few):
    subject, image = parts
    write_nifti(subject.image[1], image[..., :0:-1])
    with pytest.warns(MRHWarning, match="MT on is brighter than MT off"):
        open_subject(subject, few)
    write_nifti(subject.image[1], image[..., 1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_subject(subject, few)


def test_a_damaged_packed_file_is_named(parts, few):
    path = parts[0].image[1]
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:-64]))
    with pytest.raises(SubjectError, match=r"mt.nii.gz: expected 2 volumes of \(6, 5, 4\) voxels, found EOFError \(the file ends"):
        open_subject(parts[0], few)
