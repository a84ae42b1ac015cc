"""Damaged and hostile files of patches: each ends in success or in one error."""

import shutil

import h5py
import numpy as np
import pytest
import scipy.io

from helpers.patch_file_writing import HEADER, write_patch_file
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import SubjectError
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject import Subject


@pytest.fixture
def arrays(rng):
    """``data``, ``label`` and ``fa`` of five patches."""
    data = rng.integers(100, 4000, (3, 3, 67, 5)).astype(np.float64)
    data[:, :, 66] += 4000  # MT off is the brighter one
    return {"data": data, "label": rng.integers(1, 255, (3, 3, 1, 5)).astype(np.float64), "fa": np.full((3, 3, 1, 5), 90.0)}


def of(path, nan="refuse"):
    return load_subject(Subject(path.stem, (path,)), MRH_NET, ReadingOptions(nan=nan))


def test_links_to_other_files_are_refused(tmp_path, arrays):
    secret = write_patch_file(tmp_path / "secret.mat", **arrays)
    path = tmp_path / "linked.mat"
    shutil.copy(write_patch_file(tmp_path / "base.mat", fa=arrays["fa"]), path)
    with h5py.File(path, "r+") as file:
        file["data"] = h5py.ExternalLink(str(secret), "data")
    with pytest.raises(SubjectError, match="expected 'data' in the file itself, found a link to another place"):
        of(path)
    shutil.copy(tmp_path / "base.mat", path)
    with h5py.File(path, "r+") as file:
        file.create_dataset("data", (5, 67, 3, 3), np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(SubjectError, match="expected 'data' in the file itself, found values stored in another file"):
        of(path)


@pytest.mark.filterwarnings("ignore:.*diffusion weighting should darken")
@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_damaged_files_end_in_success_or_one_error(tmp_path, arrays, rng, version):
    """Readers crash on some of these, in a process of their own."""
    few = {name: values[..., :2] for name, values in arrays.items()}
    whole = write_patch_file(tmp_path / "patches.mat", version, **few).read_bytes()
    if version == "v7":  # uncompressed, so that no checksum stands before the parser
        scipy.io.savemat(tmp_path / "patches.mat", few, do_compression=False)
        whole = (tmp_path / "patches.mat").read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(128, 400 if version == "v7" else min(len(damaged), 6000), 4):  # where headers lie
            damaged[place] = int(rng.integers(0, 256))
        (tmp_path / "damaged.mat").write_bytes(damaged)
        try:
            of(tmp_path / "damaged.mat", nan="zero")
        except SubjectError as error:
            assert "damaged.mat" in str(error)
            refused += 1
    assert refused > 10


def hdf5(path, fill):
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    path.write_bytes(HEADER + path.read_bytes()[128:])
    return path


def deep(file):
    group = file
    for _ in range(3000):
        group = group.create_group("g")


UNSTORED = {"shape": (400_000, 67, 3, 3), "dtype": np.float64, "chunks": (1000, 67, 3, 3)}


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.create_dataset("data", **UNSTORED), "bytes of 'data', found 0 bytes stored"),
        (lambda f: f.create_dataset("data", (0, 67, 3, 3), np.float64), "data: expected patches, found an empty variable"),
        (lambda f: f.create_dataset("data", data=h5py.Empty(np.float64)), "expected the variable data, found no array of numbers"),
        (lambda f: f.create_dataset("data", data=np.array([b"text"])), "expected the variable data, found no array of numbers"),
        (deep, "expected the variable data, found no array of numbers"),
    ],
)
def test_hostile_hdf5_is_one_error(tmp_path, fill, message):
    with pytest.raises(SubjectError, match=message):
        of(hdf5(tmp_path / "hostile.mat", fill))


def test_chunks_too_large_to_be_read_in_blocks_are_refused(tmp_path):
    def fill(file):
        data = file.create_dataset("data", (60_000, 67, 3, 3), np.float64, chunks=(60_000, 67, 3, 3), compression="gzip")
        data.id.write_direct_chunk((0, 0, 0, 0), bytes(300_000))  # so many bytes could hold it

    with pytest.raises(SubjectError, match="expected chunks of at most 256 MiB in 'data', found 276 MiB"):
        of(hdf5(tmp_path / "chunk.mat", fill))


@pytest.mark.filterwarnings("ignore:.*diffusion weighting should darken")
def test_hdf5_without_matlabs_header_is_read_too(tmp_path, arrays):
    with h5py.File(tmp_path / "plain.mat", "w") as file:
        file["data"] = arrays["data"].T
    assert of(tmp_path / "plain.mat").image.shape == (3, 5, 3, 67)
