import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest

from helpers.random_weights import PARENT, with_random_weights
from helpers.score_files import write_scores
from helpers.strange_zips import NF
from mrh_monai.errors import BundleError, CheckpointError
from mrh_monai.network.checkpoint import load_checkpoint, load_network, save_checkpoint, with_intervals
from mrh_monai.network.interval_head import IntervalNetwork
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.sharing.packing import MANIFEST, check_weights, pack
from mrh_monai.sharing.unpacking import unpack

pytestmark = pytest.mark.sharing

SHIPPED = sorted(path.relative_to(NF).as_posix() for path in NF.rglob("*") if path.is_file() and "model." not in path.name)


@pytest.fixture
def bundle(tmp_path):
    return with_random_weights(NF, tmp_path, parent=True)


def read(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"mrh_nf/{name}")


def metadata(path):
    return json.loads(read(path, "configs/metadata.json"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_zip_has_the_bundles_own_files_and_says_so(bundle, tmp_path):
    packed = pack(bundle, tmp_path / "nf.zip")
    expected = sorted([*SHIPPED, MANIFEST, "models/model.json", "models/model.pt"])
    assert (packed.name, packed.files, packed.left_out, packed.foreign) == ("mrh_nf", expected, [], [])
    assert packed.sha256 == hashlib.sha256((tmp_path / "nf.zip").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "nf.zip") as archive:
        assert archive.namelist() == sorted(f"mrh_nf/{name}" for name in expected)
    for name in set(SHIPPED) - {"configs/metadata.json", "docs/README.md"} | {"models/model.pt", "models/model.json"}:
        assert read(tmp_path / "nf.zip", name) == (bundle / name).read_bytes()


def test_the_same_bundle_gives_the_same_bytes_anywhere_at_any_time(bundle, tmp_path, monkeypatch):
    pack(bundle, tmp_path / "one.zip")
    shutil.copytree(bundle, tmp_path / "far" / "mrh_nf")
    for index, path in enumerate(sorted((tmp_path / "far").rglob("*"), reverse=True)):
        os.utime(path, (10**9 + index, 10**9 + index))
        path.chmod(0o755 if path.is_dir() else (0o600, 0o777)[index % 2])
    monkeypatch.chdir(tmp_path / "far")
    pack("mrh_nf", "two.zip")
    monkeypatch.chdir(tmp_path / "far" / "mrh_nf")
    pack(".", "../three.zip")
    assert len({path.read_bytes() for path in (tmp_path / "one.zip", tmp_path / "far/two.zip", tmp_path / "far/three.zip")}) == 1


def test_stray_files_stay_behind(bundle, tmp_path):
    clean = pack(bundle, tmp_path / "clean.zip")
    outside = tmp_path / "secret.md"
    outside.write_text("secret")
    strays = [
        ".DS_Store", ".git/config", "configs/.hidden.yaml", "configs/__pycache__/a.pyc", "configs/old/train.yaml", "configs/run.py",
        "docs/.partial.1.README.md", "docs/a.pdf", "eval/predictions.nii.gz", "extra.yaml", "models/.partial.x.model.pt",
        "models/checkpoint.pt", "models/model.ts", "models/model.pt.bak", "scripts/run.py", "docs/LICENSE",
    ]  # fmt: skip
    for name in strays:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("stray")
    (bundle / "docs" / "link.md").symlink_to(outside)
    (bundle / "docs" / "linked").symlink_to(tmp_path)
    (bundle / "configs" / "gone.yaml").symlink_to(tmp_path / "nowhere")
    packed = pack(bundle, tmp_path / "dirty.zip")
    assert packed.left_out == sorted([*strays, "docs/link.md", "docs/linked", "configs/gone.yaml"], key=lambda name: name.split("/"))
    assert packed.files == clean.files
    assert (tmp_path / "dirty.zip").read_bytes() == (tmp_path / "clean.zip").read_bytes()


def test_pictures_and_configs_go_along(bundle, tmp_path):
    (bundle / "docs" / "curve.png").write_bytes(b"png")
    (bundle / "configs" / "mine.json").write_text('{"a": "$b"}')
    packed = pack(bundle, tmp_path / "nf.zip")
    assert {"docs/curve.png", "configs/mine.json"} <= set(packed.files)
    named = ["configs/mine.json: a config that no bundle of this project has", "configs/mine.json, a: $b"]
    assert [str(code) for code in packed.foreign] == named


def test_the_manifest_is_one_that_sha256sum_reads(bundle, tmp_path):
    packed = pack(bundle, tmp_path / "nf.zip")
    lines = read(tmp_path / "nf.zip", MANIFEST).decode().splitlines()
    assert [line[66:] for line in lines] == [name for name in packed.files if name != MANIFEST]
    assert [line[:64] for line in lines] == [hashlib.sha256(read(tmp_path / "nf.zip", line[66:])).hexdigest() for line in lines]
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum on this machine")
    with zipfile.ZipFile(tmp_path / "nf.zip") as archive:
        archive.extractall(tmp_path / "out")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", MANIFEST], cwd=tmp_path / "out" / "mrh_nf", capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == len(packed.files) - 1


def test_lineage_of_the_sidecar_is_merged_into_the_metadata(bundle, tmp_path):
    declared = json.loads((bundle / "configs" / "metadata.json").read_text())
    pack(bundle, tmp_path / "nf.zip")
    found = metadata(tmp_path / "nf.zip")
    assert found["pretrained"] == {"name": "mrh_af", "version": ">=0.2,<0.3", "used": True} | PARENT
    sidecar = load_checkpoint(bundle / "models" / "model.pt")[1]
    assert found["weights"] == {"file": "models/model.pt", "sha256": sidecar.sha256, "residual_blocks": 1, "features": 8}
    assert found["eval_metrics"] == {"val_rmse": 12.5, "val_r2": 0.875}
    changed = {"pretrained", "weights", "eval_metrics"}
    assert {key: found[key] for key in declared if key not in changed} == {key: declared[key] for key in declared if key not in changed}
    assert set(found) == set(declared) | changed
    assert json.loads((bundle / "configs" / "metadata.json").read_text()) == declared


def test_lineage_without_and_with_another_parent(tmp_path):
    scratch = with_random_weights(NF, tmp_path / "a")
    pack(scratch, tmp_path / "a.zip")
    assert metadata(tmp_path / "a.zip")["pretrained"] == {"name": "mrh_af", "version": ">=0.2,<0.3", "used": False}
    state, sidecar = load_checkpoint(scratch / "models" / "model.pt")
    other = {"name": "mrh_x", "stain": "x", "sha256": "2" * 64}
    save_checkpoint(scratch / "models" / "model.pt", state, replace(sidecar, parent=other))
    pack(scratch, tmp_path / "b.zip")
    assert metadata(tmp_path / "b.zip")["pretrained"] == {"used": True} | other
    undeclared = with_random_weights(NF.parent / "mrh_af", tmp_path / "c")
    assert "pretrained" not in json.loads(pack_metadata(undeclared, tmp_path / "c.zip"))


def pack_metadata(bundle, path):
    packed = pack(bundle, path)
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{packed.name}/configs/metadata.json")


def test_scores_of_these_weights_are_packed(bundle, tmp_path):
    scores = write_scores(tmp_path / "out", bundle, s2={"rmse": 3.0, "r2": 0.5}, s1={"rmse": 2.0, "r2": 0.25})
    pack(bundle, tmp_path / "nf.zip", scores)
    assert metadata(tmp_path / "nf.zip")["eval_metrics"]["subjects"] == {"s1": {"rmse": 2, "r2": 0.25}, "s2": {"rmse": 3, "r2": 0.5}}
    assert "| s1 | 2 | 0.25 |\n| s2 | 3 | 0.5 |" in read(tmp_path / "nf.zip", "docs/README.md").decode()


def test_scores_of_other_weights_are_refused(bundle, tmp_path):
    scores = write_scores(tmp_path / "out", bundle, weights="3" * 64, s1={"rmse": 2.0})
    with pytest.raises(BundleError, match="s1_nf.json: expected a prediction by the weights .*, found a prediction by 333333333333"):
        pack(bundle, tmp_path / "nf.zip", scores)
    (tmp_path / "out" / "s1" / "s1_nf.json").unlink()
    with pytest.raises(BundleError, match="expected the record of s1's prediction, found no such file or directory"):
        pack(bundle, tmp_path / "nf.zip", scores)
    assert not (tmp_path / "nf.zip").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '{"s": 1}', '{"s": {"rmse": "x"}}', '{"s": {}}', '{"s": {"rmse": Infinity}}'])
def test_what_are_no_scores_is_refused(bundle, tmp_path, text):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(BundleError, match="scores.json: expected scores of subjects in JSON"):
        pack(bundle, tmp_path / "nf.zip", tmp_path / "scores.json")


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    for where, found in ((tmp_path, "a folder without configs/metadata.json"), (tmp_path / "none", "no such folder")):
        with pytest.raises(BundleError, match=f"expected a bundle folder, found {found}"):
            pack(where, tmp_path / "x.zip")
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="expected a bundle folder, found a file"):
        pack(tmp_path / "file", tmp_path / "x.zip")


def test_output_name_and_broken_bundles_are_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"x.tar: expected a zip to write, found the ending .tar; give a name that ends in .zip"):
        pack(bundle, tmp_path / "x.tar")
    shutil.copytree(bundle, tmp_path / "a:b")
    with pytest.raises(BundleError, match="expected names that are possible on every system, found 'a:b'"):
        pack(tmp_path / "a:b", tmp_path / "x.zip")
    (bundle / "configs" / "bad.yaml").write_text("a: [")
    with pytest.raises(BundleError, match="configs/bad.yaml: expected a config in YAML or JSON"):
        pack(bundle, tmp_path / "x.zip")
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(CheckpointError, match="model.pt: expected trained weights, found no such file"):
        pack(bundle, tmp_path / "y.zip")
    assert not (tmp_path / "y.zip").exists()


def test_weights_that_do_not_fit_are_refused(bundle):
    weights = bundle / "models" / "model.pt"
    state, sidecar = load_checkpoint(weights)
    names = MRProtocol.from_metadata(bundle / "configs" / "metadata.json").names
    save_checkpoint(weights, state, replace(sidecar, channels=names[::-1]))
    with pytest.raises(CheckpointError, match="expected the 67 channels of configs/metadata.json, found other channels, or another order"):
        check_weights(bundle)
    save_checkpoint(weights, state, replace(sidecar, residual_blocks=2))
    with pytest.raises(CheckpointError, match=r"expected this tensor \(2 residual blocks\), found no such tensor \(1 residual blocks\)"):
        check_weights(bundle)
    save_checkpoint(weights, state, replace(sidecar, features=9))
    with pytest.raises(CheckpointError, match=r"conv1.weight: expected shape \(9, 67, 3, 3\), found \(8, 67, 3, 3\)"):
        check_weights(bundle)
    state["conv1.bias"][0] = float("nan")
    save_checkpoint(weights, state, sidecar)
    with pytest.raises(CheckpointError, match="tensor conv1.bias: expected .*finite numbers, found NaN or Inf"):
        check_weights(bundle)


def test_an_interval_head_goes_along(tmp_path):
    bundle = with_random_weights(NF, tmp_path / "sent", multipliers=(1.0, 2.0))
    packed = pack(bundle, tmp_path / "nf.zip")
    assert "models/model_intervals.pt" in packed.files
    received = unpack(tmp_path / "nf.zip", tmp_path / "received")
    assert sorted(path.name for path in (received / "models").iterdir()) == ["model.json", "model.pt", "model_intervals.pt"]
    network, sidecar = load_network(received / "models" / "model.pt")
    assert isinstance(with_intervals(network, received / "models" / "model.pt", sidecar), IntervalNetwork)


@pytest.mark.parametrize("missing", [True, False])
def test_a_head_that_does_not_fit_is_not_packed(tmp_path, missing):
    bundle = with_random_weights(NF, tmp_path / "sent", multipliers=(1.0,))
    head = bundle / "models" / "model_intervals.pt"
    head.unlink() if missing else head.write_bytes(b"another")
    with pytest.raises(CheckpointError, match=r"model_intervals\.pt: expected the interval head"):
        pack(bundle, tmp_path / "nf.zip")


def test_a_head_that_the_sidecar_does_not_know_stays_behind(bundle, tmp_path):
    (bundle / "models" / "model_intervals.pt").write_bytes(b"older")
    assert pack(bundle, tmp_path / "nf.zip").left_out == ["models/model_intervals.pt"]


def test_a_head_that_was_not_measured_is_examined_too(tmp_path):
    bundle = with_random_weights(NF, tmp_path / "sent", multipliers=())
    assert "models/model_intervals.pt" in pack(bundle, tmp_path / "nf.zip").files
    (bundle / "models" / "model_intervals.pt").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match=r"model_intervals\.pt: expected the interval head"):
        pack(bundle, tmp_path / "nf.zip")
