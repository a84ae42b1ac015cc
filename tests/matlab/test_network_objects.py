"""Files that are no whole MATLAB network: one clear error each, and nothing in them is ever run."""

import pickle
import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from helpers.matlab_files import mrh_net, write_network
from helpers.patch_file_writing import write_patch_file
from mrh_monai.errors import CheckpointError
from mrh_monai.matlab.network_import import read_mrh_network
from mrh_monai.matlab.network_objects import read_matlab_network

HEADER = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\x00\x01IM"


class RunsWhenLoaded:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def element(kind, data):
    padding = b"" if kind == 15 else bytes(-len(data) % 8)  # compressed ones have none
    return struct.pack("<II", kind, len(data)) + data + padding


def claiming(shape, claimed):
    """A matrix ``net`` of doubles that has almost no data."""
    dimensions = struct.pack(f"<{len(shape)}i", *shape)
    body = element(6, struct.pack("<II", 6, 0)) + element(5, dimensions) + element(1, b"net")
    return body + struct.pack("<II", 9, claimed) + bytes(1600)


def tiny(path, content):
    path.write_bytes(HEADER + content)
    assert path.stat().st_size <= 2048
    return path


def huge_hdf5(path):
    """Claims 4 GB of doubles, of which no byte is stored."""
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset("net", (1 << 29,), np.float64, chunks=(1 << 20,), compression="gzip")
        data.attrs["MATLAB_class"] = np.bytes_("double")
    whole = path.read_bytes()
    path.write_bytes(HEADER[:124] + b"\x00\x02IM" + whole[128:])
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"not a MATLAB file" * 50, "expected a MATLAB file of version 5 or 7.3, found a file of another kind"),
        (b"\x00\x00\x00\x00" * 100, "expected a MATLAB file of version 5 or 7.3"),
        (HEADER, "expected variables, found no variable"),
        (HEADER[:-4] + b"\x00\x02IM" + b"no HDF5" * 100, "expected a MATLAB file of version 7.3"),
        (HEADER + b"12345", "byte 128: expected a variable, found other data"),
        (HEADER + element(15, b"no zlib stream"), "byte 128: expected complete compressed data"),
        (HEADER + element(15, zlib.compress(b"short")), "byte 128: expected complete compressed data"),
        (HEADER[:116] + struct.pack("<Q", 5000) + HEADER[124:] + element(14, claiming((2, 2), 32)), "no data at byte 5,000"),
    ],
)
def test_no_matlab_file(tmp_path, content, message):
    path = tmp_path / "net.mat"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_matlab_network(path)


def test_no_file_at_all(tmp_path):
    with pytest.raises(CheckpointError, match="found no such file"):
        read_matlab_network(tmp_path / "absent.mat")
    with pytest.raises(CheckpointError, match="found a folder"):
        read_matlab_network(tmp_path)


def test_sizes_that_are_only_claimed_are_refused(tmp_path):
    claimed = 4_000_000_000
    path = tiny(tmp_path / "outer.mat", struct.pack("<II", 14, claimed) + bytes(1000))
    with pytest.raises(CheckpointError, match="byte 128: expected 4,000,000,000 bytes, found the end of the file after 1,000"):
        read_matlab_network(path)
    for name, shape in (("inner", (20_000, 25_000)), ("many", (1 << 30, 1 << 30, 1 << 30))):
        path = tiny(tmp_path / f"{name}.mat", element(15, zlib.compress(element(14, claiming(shape, claimed)))))
        with pytest.raises(CheckpointError, match=r"(expected a readable MATLAB file|net: expected a DAGNetwork)"):
            read_matlab_network(path)
    with pytest.raises(CheckpointError, match="expected 4,294,967,296 bytes of 'net', found 0 bytes stored"):
        read_matlab_network(huge_hdf5(tmp_path / "hdf5.mat"))


def test_a_bomb_is_not_inflated(tmp_path):
    zeros = zlib.compressobj(9)
    data = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(1100)) + zeros.flush()
    path = tmp_path / "bomb.mat"
    path.write_bytes(HEADER + element(15, data))
    with pytest.raises(CheckpointError, match="expected a variable of at most 1 GiB, found a larger one"):
        read_matlab_network(path)


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_truncated_at_any_byte(tmp_path, rng, version):
    whole = write_network(tmp_path / "whole.mat", *mrh_net(1, 3, 2), version=version).read_bytes()
    path = tmp_path / "part.mat"
    lengths = {0, 1, 4, 124, 127, 128, 129, 135, 136, len(whole) - 1, *rng.integers(0, len(whole), 12).tolist()}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"part\.mat"):
            read_matlab_network(path)


def test_other_variables_are_named(tmp_path):
    path = tmp_path / "data.mat"
    scipy.io.savemat(path, {"a": np.zeros(3), "b": "text"})
    with pytest.raises(CheckpointError, match=r"expected a variable `net`, found the variables \['a', 'b'\]"):
        read_matlab_network(path)
    scipy.io.savemat(path, {"net": np.zeros(3)})
    with pytest.raises(CheckpointError, match="net: expected a DAGNetwork, SeriesNetwork, dlnetwork, found a ndarray"):
        read_matlab_network(path)
    write_patch_file(path, data=np.zeros((3, 3, 2, 4)), fa=np.ones((3, 3, 1, 4)))
    with pytest.raises(CheckpointError, match=r"expected a variable `net`, found the variables \['data', 'fa'\]"):
        read_matlab_network(path)
    write_patch_file(path, net=np.zeros((3, 3, 2, 4)))
    with pytest.raises(CheckpointError, match="net: expected a DAGNetwork, SeriesNetwork, dlnetwork, found a ndarray"):
        read_matlab_network(path)


def test_names_from_a_file_cannot_reach_the_terminal_as_they_are(tmp_path):
    layers, connections = mrh_net(1, 3, 2)
    path = write_network(tmp_path / "net.mat", layers, [*connections, ("Conv1", "a\nb\x1b[2J" + 300 * "c")])
    with pytest.raises(CheckpointError, match=r"connection Conv1 to 'a\\nb\\x1b\[2Jccc") as raised:
        read_mrh_network(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000
    write_network(path, [{**layers[0], "Name": "a\nb"}, *layers[1:]], connections)
    with pytest.raises(CheckpointError, match=r"expected layers with names, found 'a\\nb'"):
        read_mrh_network(path)


def test_connections_without_end_are_refused_at_once(tmp_path):
    layers, connections = mrh_net(1, 3, 2)
    path = write_network(tmp_path / "net.mat", layers, [*connections, *(("Conv1", f"x{n}") for n in range(2000))])
    with pytest.raises(CheckpointError, match="expected at most four connections for each of 14 layers, found 2014"):
        read_matlab_network(path)


def test_another_class_is_refused(tmp_path):
    path = write_network(tmp_path / "net.mat", *mrh_net(1, 3, 2), kind="RegressionSVM")
    with pytest.raises(CheckpointError, match="found a RegressionSVM"):
        read_matlab_network(path)


def test_nothing_in_a_file_is_ever_run(tmp_path):
    marker = tmp_path / "ran"
    payload = pickle.dumps(RunsWhenLoaded(marker))
    (tmp_path / "pickle.mat").write_bytes(payload)
    torch.save(RunsWhenLoaded(marker), tmp_path / "torch.mat")
    (tmp_path / "hidden.mat").write_bytes(HEADER + element(15, zlib.compress(element(14, payload))))
    np.save(tmp_path / "array.npy", np.array([RunsWhenLoaded(marker)], object), allow_pickle=True)
    (tmp_path / "array.npy").rename(tmp_path / "array.mat")
    for name in ("pickle", "torch", "hidden", "array"):
        with pytest.raises(CheckpointError, match=rf"{name}\.mat"):
            read_matlab_network(tmp_path / f"{name}.mat")
        assert not marker.exists()
    pickle.loads(payload).close()  # the trap does spring where it is unpickled
    assert marker.exists()
