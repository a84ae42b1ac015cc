import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from helpers.signatures import new_key, trusted
from helpers.strange_zips import INFERENCE, NF, SIDECAR, Member, deflated_zeros, other_weights, raw_zip, repacked
from mrh_monai import __version__
from mrh_monai.errors import BundleError, CheckpointError, MRHError, OutputError
from mrh_monai.sharing.packing import MANIFEST, pack
from mrh_monai.sharing.signing import sign
from mrh_monai.sharing.unpacking import unpack, verify

pytestmark = pytest.mark.sharing

EVIL = "$__import__('os').system('touch evil')"


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def leaves_nothing(zip_path, folder, error=MRHError, match=""):
    for work in (verify, lambda path: unpack(path, folder)):
        with pytest.raises(error, match=match) as caught:
            work(zip_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_sound_zip_is_examined_and_unpacked(zipped, files, tmp_path):
    found = verify(zipped())
    assert (found.name, found.files, found.foreign, found.signer) == ("mrh_nf", sorted(files), [], None)
    assert len(found.code) > 150
    assert (found.sidecar.stain, found.sidecar.parent["name"]) == ("nf", "mrh_af")
    assert unpack(zipped(), tmp_path / "out") == tmp_path / "out" / "mrh_nf"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mrh_nf"]
    assert {
        p.relative_to(tmp_path / "out/mrh_nf").as_posix(): p.read_bytes() for p in tmp_path.glob("out/mrh_nf/**/*") if p.is_file()
    } == files


def test_what_was_unpacked_can_be_packed_again(zipped, tmp_path):
    packed = pack(unpack(zipped(), tmp_path / "out"), tmp_path / "again.zip")
    assert (packed.name, packed.left_out, packed.foreign) == ("mrh_nf", [], [])
    again, first = verify(tmp_path / "again.zip"), verify(zipped())
    assert (again.files, again.code, again.sidecar) == (first.files, first.code, first.sidecar)


@pytest.mark.parametrize("where", [INFERENCE, "configs/metadata.json"])
def test_foreign_expressions_need_trust(zipped, files, tmp_path, where, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = json.loads(files[where]) if where == "configs/metadata.json" else {}
    before = files[where] + b"\n" if where == INFERENCE else b""
    path = zipped({where: before + json.dumps({**content, "strange": [EVIL]}).encode()[1 if before else 0 : -1 if before else None]})
    found = verify(path)
    assert [str(code) for code in found.foreign] == [f"{where}, strange::0: {EVIL}"]
    with pytest.raises(BundleError, match="expected only code that this project wrote, found other code in 1 place .*give --trust only if"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (unpack(path, tmp_path / "out", trust=True) / where).is_file()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["scripts/evil.py", "models/model.ts", "models/other.pt", "mrh_monai/__init__.py", "configs/extra.conf"])
def test_files_that_could_run_need_trust(zipped, tmp_path, name):
    path = zipped({name: b"x"})
    assert [(code.file, code.kind) for code in verify(path).foreign] == [(name, "file")]
    with pytest.raises(BundleError, match="a file that no bundle of this project has"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_in_place_of_weights_is_not_run(zipped, files, tmp_path, whole, protocol):
    evil = tmp_path / "evil"
    if whole:
        data = pickle.dumps(Payload(evil), protocol)
    else:
        buffer = io.BytesIO()
        torch.save({"conv1.weight": Payload(evil)}, buffer, _use_new_zipfile_serialization=protocol > 0)
        data = buffer.getvalue()
    leaves_nothing(
        zipped(other_weights(files, data)), tmp_path / "out", CheckpointError, "in/mrh_nf.zip, models/model.pt: expected a PyTorch"
    )
    assert not evil.exists()
    (tmp_path / "weights.pt").write_bytes(data)
    if not whole:
        torch.load(tmp_path / "weights.pt", weights_only=False)
        assert evil.exists()  # it would have run


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file that looks like a TorchScript")
def test_a_torchscript_file_in_place_of_weights_is_refused(zipped, files, tmp_path):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), buffer)
    leaves_nothing(zipped(other_weights(files, buffer.getvalue())), tmp_path / "out", CheckpointError, "a PyTorch state dict")


@pytest.mark.parametrize(
    ("name", "expected"),
    [(INFERENCE, "a bundle with configs/inference.yaml, found no such file"), (MANIFEST, "MANIFEST.sha256: expected the list"),
     ("configs/metadata.json", "a bundle with configs/metadata.json"), (SIDECAR, "a bundle with models/model.json"),
     ("models/model.pt", "a bundle with models/model.pt")],
)  # fmt: skip
def test_what_lacks_a_part_is_refused(zipped, files, tmp_path, name, expected):
    if name == MANIFEST:
        plain = [Member(f"mrh_nf/{key}", data) for key, data in files.items() if key != MANIFEST]
        path = raw_zip(tmp_path / "x.zip", *plain)
    else:
        path = zipped({name: None})
    leaves_nothing(path, tmp_path / "out", BundleError, expected)


def test_the_manifest_is_held_against_every_file(zipped, files, tmp_path):
    text = files[MANIFEST].decode()
    for changed, message in (
        (text.replace(text[:64], "0" * 64, 1), "LICENSE: expected SHA-256 000000000000 as MANIFEST.sha256 says"),
        (text.split("\n", 1)[1], "LICENSE: expected no such file, as MANIFEST.sha256 says, found this file"),
        (text + f"{'0' * 64}  docs/more.md\n", "docs/more.md: expected this file, as MANIFEST.sha256 says, found no such file"),
        ("nonsense\n", "MANIFEST.sha256: expected lines with a SHA-256 and a path"),
        ("\xff", "MANIFEST.sha256"),
    ):
        leaves_nothing(zipped({MANIFEST: changed}), tmp_path / "out", BundleError, message)


def test_weights_of_another_sidecar_are_refused(zipped, files, tmp_path):
    sidecar = json.loads(files[SIDECAR])
    for changes, message in (
        ({"sha256": "0" * 64}, r"the weights that model.json describes \(SHA-256 000000000000\)"),
        ({"channels": sidecar["channels"][:-1]}, "66 channels|scaling constants for 66|expected the 67 channels"),
        ({"residual_blocks": 2}, "models/model.pt, tensor .*2 residual blocks"),
        ({"features": "64"}, "features is '64'"),
        ({"stain": None}, "stain is None"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ):
        path = zipped({SIDECAR: json.dumps(sidecar | changes)})
        leaves_nothing(path, tmp_path / "out", CheckpointError, message)


def test_slips_links_and_bombs_leave_nothing(files, tmp_path):
    sound = [Member(f"mrh_nf/{name}", data) for name, data in files.items()]
    for strange, message in (
        (Member("../evil"), "leads out of it"), (Member("/tmp/evil"), "leads out of it"),
        (Member("mrh_nf\\..\\..\\evil"), "leads out of it"),
        (Member("mrh_nf/docs/x.md", b"/etc/passwd", mode=0o120777), "a link"),
        (Member("other/x.md"), "a zip with one folder at its top, the bundle, found files outside of one folder"),
        (Member("mrh_nf/docs/x.md", deflated_zeros(8), 8, 1 << 31), "at most 1 GiB once unpacked, found 2 GiB"),
        (Member("mrh_nf/docs/x.md", deflated_zeros(8), 8, 99), "damaged"),
    ):  # fmt: skip
        leaves_nothing(raw_zip(tmp_path / "x.zip", *sound, strange), tmp_path / "out", BundleError, message)
    assert {path.name for path in tmp_path.iterdir()} <= {"x.zip", "out"}


def test_damage_anywhere_is_found(zipped, tmp_path):
    data = zipped().read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # What stands before a file and again in the directory, which alone is used: version, method, date and sizes. They are no content.
        copies = {info.header_offset + place for info in archive.infolist() for place in (*range(4, 14), *range(18, 26))}
    for place in set(range(50, len(data) - 2000, len(data) // 25)) - copies:
        flipped = bytearray(data)
        flipped[place] ^= 1
        (tmp_path / "x.zip").write_bytes(flipped)
        with pytest.raises(MRHError):
            verify(tmp_path / "x.zip")


def test_an_existing_folder_is_left_alone(zipped, tmp_path):
    (tmp_path / "out" / "mrh_nf").mkdir(parents=True)
    unpack(zipped(), tmp_path / "out")
    (tmp_path / "out/mrh_nf/LICENSE").write_text("mine")
    with pytest.raises(OutputError, match="mrh_nf: expected a new folder, found a file or a folder that is not empty"):
        unpack(zipped(), tmp_path / "out")
    assert (tmp_path / "out/mrh_nf/LICENSE").read_text() == "mine"
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
def test_signatures_are_asked_for(zipped, tmp_path):
    path = zipped()
    sign(path, new_key(tmp_path / "key"))
    new_key(tmp_path / "other")
    assert verify(path, trusted(tmp_path, "anna@example.org")).signer == "anna@example.org"
    with pytest.raises(BundleError, match="expected a signature by a signer in"):
        unpack(path, tmp_path / "out", trust=True, signers=trusted(tmp_path, "otto@example.org", key="other"))
    assert not (tmp_path / "out").exists()


def wrong(kind, files, folder):
    if kind == "truncated":
        path = repacked(folder / "x.zip", files, {})
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "slip":
        path = raw_zip(folder / "x.zip", Member("mrh_nf/a"), Member("../evil"))
    elif kind == "bomb":
        path = raw_zip(folder / "x.zip", *(Member(f"mrh_nf/{i}", deflated_zeros(1), 8, 1 << 30) for i in range(10)))
    elif kind == "pickle":
        path = repacked(folder / "x.zip", files, other_weights(files, pickle.dumps(Payload(folder / "evil"), 2)))
    else:
        path = repacked(folder / "x.zip", files, {INFERENCE: files[INFERENCE] + f'\nrun_me: "{EVIL}"\n'.encode()})
    return path


@pytest.mark.parametrize("kind", ["truncated", "slip", "bomb", "pickle", "expression"])
def test_wrong_zips_end_in_one_sentence(call, files, tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = wrong(kind, files, tmp_path)
    for words in (("verify", path), ("unpack", path, "-o", tmp_path)):
        status, _, err = call(*words)
        assert status == 1
        assert err.startswith(f"error: {path}")
        assert len(err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.zip"]


def test_the_verbs_pack_verify_and_unpack(call, zipped, tmp_path):
    status, out, _ = call("unpack", zipped(), "-o", tmp_path / "out")
    assert (status, Path(out.strip())) == (0, tmp_path / "out" / "mrh_nf")
    status, out, _ = call("pack", tmp_path / "out" / "mrh_nf", "-o", tmp_path / "x.zip")
    assert (status, len(out.splitlines())) == (0, 1)
    status, out, err = call("verify", tmp_path / "x.zip")
    lines = out.splitlines()
    assert (status, err, lines[0]) == (0, "", "mrh_nf: 13 files, as the list in the zip says")
    assert lines[3] == f"configs: those of release {__version__}"
    assert lines[4] == f"code that its configs run: {len(lines) - 5} places, 0 of them not written by this project"
    assert "NOT OURS" not in out
    assert "         configs/inference.yaml, run::4: $@evaluator.run()" in lines


def test_a_stranger_is_listed_and_trusted(call, files, tmp_path):
    path = wrong("expression", files, tmp_path)
    status, out, _ = call("verify", path)
    assert (status, [line for line in out.splitlines() if "NOT OURS" in line]) == (1, [f"NOT OURS {INFERENCE}, run_me: {EVIL}"])
    assert call("verify", path, "--trust")[0] == 0
    assert call("unpack", path, "-o", tmp_path / "out", "--trust")[0] == 0


def test_a_folder_without_a_bundle_ends_in_one_sentence(call, tmp_path):
    status, _, err = call("pack", tmp_path, "-o", tmp_path / "x.zip")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "expected a bundle folder, found a folder without configs/metadata.json" in err
    assert call("pack", NF, "-o", tmp_path / "x.tar")[0] == 1


def test_an_unpacked_bundle_finds_its_own_weights(zipped, study, tmp_path):
    root = unpack(zipped(), tmp_path / "out")
    command = [sys.executable, "-m", "mrh_monai.cli", "predict", root, study / "subject01", "-o", tmp_path / "nf.nii.gz", "--device", "cpu"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    assert (tmp_path / "nf.nii.gz").stat().st_size > 1000


def test_a_head_that_the_sidecar_does_not_know_is_refused(zipped, tmp_path):
    with pytest.raises(BundleError, match=r"model_intervals\.pt: expected no such file, as models/model\.json says, found this file"):
        unpack(zipped({"models/model_intervals.pt": b"anything"}), tmp_path / "out")
