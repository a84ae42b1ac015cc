import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrh_monai.errors import OutputError
from mrh_monai.io.files import PARTIAL, clear_partial, replacing, sha256, writable_folder, write_text


def test_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_writer_leaves_the_old_file_and_a_part_that_can_be_cleared(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = (
        "import sys, time; from mrh_monai.io.files import replacing\n"
        f"with replacing({str(path)!r}) as t:\n t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert path.read_text() == "old"
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 1
    clear_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_parallel_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    code = "import sys; from mrh_monai.io.files import write_text\nfor _ in range(50): write_text(sys.argv[1], sys.argv[2] * 100000)"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    seen = set()
    deadline = time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        if path.exists():
            text = path.read_text()
            seen.add((len(text), len(set(text))))
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert seen <= {(100000, 1)}


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OutputError, match=r"file/out: expected a folder that can be written, found NotADirectoryError.*name another output"
    ):
        writable_folder(tmp_path / "file" / "out")


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="only Linux has a folder in which nobody, not even root, may make a file")
def test_folder_without_write_permission_is_named():
    with pytest.raises(OutputError, match="PermissionError"):
        write_text(Path("/sys/a.txt"), "a")


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(OutputError, match="expected a file to write, found a folder"):
        write_text(tmp_path, "a")


def test_sha256_is_the_known_one(tmp_path):
    write_text(tmp_path / "a", "abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
