import os
import tempfile
import weakref

import numpy as np
import pytest

from helpers.subjects import write_nifti
from mrh_monai.data.slabs import FileSlabs, PaddedImage
from mrh_monai.errors import OutputError, SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header


@pytest.fixture
def image(rng):
    return rng.integers(1, 900, (5, 7, 4, 3)).astype(np.int16)


def opened(path, margin=1, axes=(0, 2)):
    slabs = FileSlabs([read_header(path)], margin, axes)
    list(slabs.volumes())
    return slabs


def write(folder, kind, image):
    path = folder / f"image{kind}"
    if kind == ".img":
        write_analyze(path, image, 0.1)
    elif kind == ".mha":
        import itk

        itk.imwrite(itk.image_from_array(np.ascontiguousarray(image.T)), str(path))
    else:
        write_nifti(path, image)
    return path


@pytest.mark.parametrize("kind", [".img", ".nii", ".nii.gz", ".mha"])
@pytest.mark.parametrize("axes", [(0, 2), (0, 1), (0, 1, 2)])
def test_slabs_of_files_are_slabs_of_memory(tmp_path, image, kind, axes):
    slabs = opened(write(tmp_path, kind, image), 2, axes)
    memory = PaddedImage(np.pad(image, [(2, 2)] * 3 + [(0, 0)]), 2)
    assert (slabs.shape, slabs.channels, slabs.margin) == (memory.shape, memory.channels, 2) == ((5, 7, 4), 3, 2)
    for start, stop, reach in ((0, 7, 0), (0, 7, 2), (2, 3, 0), (0, 1, 2), (5, 7, 1)):
        np.testing.assert_array_equal(slabs.slab(start, stop, reach), memory.slab(start, stop, reach))
    strides = slabs.slab(0, 7).strides
    assert strides[3] == 2
    assert strides[axes[-1]] == 2 * 3  # a patch lies in strips


def test_values_that_files_scale_are_scaled(tmp_path, image):
    import nibabel

    scaled = nibabel.Nifti1Image(image, np.eye(4))
    scaled.header.set_slope_inter(0.5, 3)
    for kind in (".nii", ".nii.gz"):
        nibabel.save(scaled, tmp_path / f"scaled{kind}")
        slabs = opened(tmp_path / f"scaled{kind}", margin=0)
        assert slabs.dtype == np.float32
        np.testing.assert_allclose(slabs.slab(0, 7), nibabel.load(tmp_path / f"scaled{kind}").get_fdata(), rtol=1e-6)


def test_other_byte_orders_and_several_files_become_one_type(tmp_path, image):
    write_nifti(tmp_path / "a.nii", image.astype(">i2"))
    write_nifti(tmp_path / "b.nii.gz", image[..., 0].astype(np.float32))
    slabs = FileSlabs([read_header(tmp_path / name) for name in ("a.nii", "b.nii.gz")], 0, (0, 2))
    assert len(list(slabs.volumes())) == slabs.channels == 4
    np.testing.assert_array_equal(slabs.slab(2, 5), np.concatenate([image, image[..., :1]], axis=3)[:, 2:5])


def test_nan_and_inf_become_zero(tmp_path, image):
    spoiled = image.astype(np.float32)
    spoiled[2, 3, 1] = np.nan, np.inf, -np.inf
    slab = opened(write(tmp_path, ".nii", spoiled), margin=0).slab(3, 4)
    assert not slab[2, 0, 1].any()
    assert slab[1].all()


def test_slabs_are_as_thick_as_memory_allows(tmp_path, image, monkeypatch):
    slabs = opened(write(tmp_path, ".nii", image))
    memory = PaddedImage(np.pad(image, [(1, 1)] * 3 + [(0, 0)]), 1)
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 3 * (7 * 6 * 3 * 2) + 1)
    assert slabs.thickness == memory.thickness == 3
    monkeypatch.setattr("mrh_monai.data.slabs.SLAB_BYTES", 1)
    assert slabs.thickness == memory.thickness == 1


def test_a_packed_file_is_unpacked_where_temporary_files_go_and_leaves_nothing(tmp_path, image, monkeypatch):
    path = write(tmp_path, ".nii.gz", image)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    slabs = opened(path)
    assert not list((tmp_path / "scratch").iterdir())  # it has no name
    path.unlink()
    assert slabs.slab(0, 7).any()
    alive = weakref.ref(slabs._stored[0].base)
    slabs.close()
    assert alive() is None

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="scratch: expected space for .* GiB, found No space left on device; set TMPDIR"):
        opened(write(tmp_path, ".nii.gz", image))


@pytest.mark.parametrize("cut", [40, 4])
def test_a_packed_file_that_ends_early_is_named(tmp_path, image, cut):
    path = write(tmp_path, ".nii.gz", image)
    path.write_bytes(path.read_bytes()[:-cut])  # in the voxels; in the checksum
    with pytest.raises(SubjectError, match=r"image.nii.gz: expected 3 volumes of \(5, 7, 4\) voxels, found EOFError"):
        opened(path)
