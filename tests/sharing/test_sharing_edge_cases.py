"""Whatever is wrong with a bundle or its zip ends in one sentence, and leaves nothing behind."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import pytest

from helpers.score_files import write_scores
from helpers.signatures import new_key, trusted
from helpers.strange_zips import INFERENCE, SIDECAR, Member, other_weights, raw_zip
from mrh_monai.bundle.writing_bundles import new_bundle
from mrh_monai.errors import BundleError, MRHError, OptionError
from mrh_monai.io.bundle_zip import BundleZip
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.sharing.config_code import code_of
from mrh_monai.sharing.model_card import fill_card
from mrh_monai.sharing.packing import pack
from mrh_monai.sharing.signing import check_signature, sign
from mrh_monai.sharing.unpacking import unpack, verify

pytestmark = pytest.mark.sharing


@pytest.mark.parametrize("text", ["a: !!int ''", "a: !!bool x", "a: !!timestamp x", "a: !!float ''"])
def test_tags_on_what_they_do_not_fit_are_one_sentence(text):
    with pytest.raises(BundleError, match="a config in YAML or JSON"):
        code_of({"configs/a.yaml": text.encode()})


@pytest.mark.parametrize(
    "name", ["", "m/" + "a" * 300, "m/" + "a/" * 3000 + "b", "m/a\u2028.md", "m/a\u202e.md", "m/a\x9b.md", ".ssh/a", "m/com\u00b9"]
)
def test_names_that_cannot_be_or_mislead_are_refused(tmp_path, name):
    with pytest.raises(BundleError):
        BundleZip(raw_zip(tmp_path / "x.zip", Member(name), Member("m/b"))).unpack(tmp_path / "to")


@pytest.mark.parametrize("name", ["a:b.md", "con.md", "a\u2028b.md", "a\nb.md", os.fsdecode(b"\xff.md")])
def test_what_pack_writes_verify_accepts(files, zipped, tmp_path, name):
    root = unpack(zipped({}), tmp_path / "out")
    (root / "docs" / name).write_text("x")
    try:
        pack(root, tmp_path / "x.zip")
    except MRHError:
        return
    verify(tmp_path / "x.zip")


def test_a_bundle_that_cannot_predict_is_not_packed(zipped, tmp_path):
    root = unpack(zipped({}), tmp_path / "out")
    (root / INFERENCE).unlink()
    with pytest.raises(BundleError, match="configs/inference.yaml"):
        pack(root, tmp_path / "x.zip")


def test_an_unpacked_bundle_packs_to_the_same_bytes(zipped, tmp_path):
    """The card's marks are not kept, so that each packing adds the facts once more, the old ones in front."""
    pack(unpack(zipped({}), tmp_path / "one"), tmp_path / "one.zip")
    pack(unpack(tmp_path / "one.zip", tmp_path / "two"), tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_scores_that_could_not_be_computed_are_packed(zipped, tmp_path):
    """evaluate.yaml writes null for them."""
    root = unpack(zipped({}), tmp_path / "in" / "out")
    pack(root, tmp_path / "x.zip", write_scores(tmp_path / "scored", root, s1={"rmse": 1.0, "r2": None}))


def test_packed_metadata_are_json_whatever_the_scores(zipped, tmp_path):
    root = unpack(zipped({}), tmp_path / "in" / "out")
    try:
        pack(root, tmp_path / "x.zip", write_scores(tmp_path / "scored", root, s1={"rmse": 1.0, "r2": float("nan")}))
    except BundleError:
        return
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert b"NaN" not in archive.read("mrh_nf/configs/metadata.json")


@pytest.mark.parametrize("source", [{"val_rmse": "x", "val_r2": None}, {"subjects": 3}, {"imported": "x"}, {"versions": []}])
def test_a_strangers_source_can_be_told(source):
    fill_card(
        "",
        Sidecar("nf", "u", MRH_NET.names, 1, 8, [0, 2], 1, RobustScaling(9.0, (0.1,) * 67, (0.1,) * 67, (1.0,) * 67), source=source),
        MRH_NET,
    )


def test_verify_says_nothing_that_the_stranger_wrote_for_it(files, zipped, capsys):
    from mrh_monai.cli.bundle_verbs import verify as verb

    stain = "nf\nsigned by anna@example.org\x1b[8m"
    try:
        verb(zipped({SIDECAR: json.dumps(json.loads(files[SIDECAR]) | {"stain": stain})}))
    except MRHError:
        return
    out = capsys.readouterr().out
    assert "\nsigned by" not in out
    assert "\x1b" not in out


def test_a_pickle_of_another_protocol_is_one_line(files, zipped):
    path = zipped(other_weights(files, pickle.dumps(print, 4)))
    done = subprocess.run(
        [sys.executable, "-m", "mrh_monai.cli", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_name_of_two_lines_is_one_sentence(tmp_path):
    with pytest.raises(BundleError) as caught:
        verify(tmp_path / "a\nerror: b.zip")
    assert len(str(caught.value).splitlines()) == 1


def test_a_zip_that_was_refused_leaves_no_folder(tmp_path):
    with pytest.raises(BundleError):
        unpack(tmp_path / "none.zip", tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()


def test_a_link_in_the_bundles_place_is_one_sentence(zipped, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mrh_nf").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MRHError, match="expected a new folder"):
        unpack(zipped({}), tmp_path / "out")


def test_a_signed_zip_that_is_gone_is_one_sentence(zipped, tmp_path):
    path = zipped({})
    sign(path, new_key(tmp_path / "key"))
    path.unlink()
    with pytest.raises(BundleError, match="no such file"):
        check_signature(path, trusted(tmp_path, "anna@example.org"))
    path.mkdir()
    with pytest.raises(BundleError, match="a folder"):
        check_signature(path, tmp_path / "signers")


def test_a_key_listed_for_git_first_is_still_trusted(zipped, tmp_path):
    sign(zipped({}), new_key(tmp_path / "key"))
    both = trusted(tmp_path, 'anna@git namespaces="git"', "anna@example.org")
    assert check_signature(tmp_path / "in" / "mrh_nf.zip", both) == "anna@example.org"


def test_a_new_zip_has_no_old_signature(zipped, tmp_path):
    root = unpack(zipped({}), tmp_path / "out")
    pack(root, tmp_path / "x.zip")
    sign(tmp_path / "x.zip", new_key(tmp_path / "key"))
    (root / "docs" / "new.md").write_text("new")
    pack(root, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip.sig").exists()


def test_a_zip_that_cannot_be_signed_is_not_written(zipped, tmp_path):
    root = unpack(zipped(), tmp_path / "out")
    pack(root, tmp_path / "x.zip", key=new_key(tmp_path / "key"))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("x.*")}
    (root / "docs" / "new.md").write_text("new")
    with pytest.raises(BundleError, match="nokey: expected an OpenSSH private key, found no such file"):
        pack(root, tmp_path / "x.zip", key=tmp_path / "nokey")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("x.*")} == before
    assert sorted(before) == ["x.zip", "x.zip.sig"]
    assert check_signature(tmp_path / "x.zip", trusted(tmp_path, "anna@example.org")) == "anna@example.org"


def test_a_signature_is_not_passed_over(zipped, tmp_path):
    path = zipped()
    for work in (verify, lambda path, **more: unpack(path, tmp_path / "to", **more)):
        with pytest.raises(BundleError, match="x.sig: expected a list of trusted signers to check it, found no list; give --signers"):
            work(path, signature=tmp_path / "x.sig")


def test_a_zip_whose_name_begins_with_a_dash_is_signed(zipped, tmp_path, monkeypatch):
    zipped({}).rename(tmp_path / "-x.zip")
    monkeypatch.chdir(tmp_path)
    sign("-x.zip", new_key(tmp_path / "key"))


@pytest.mark.parametrize("units", ["% of the maximum", "/mm2"])
def test_units_that_monai_would_take_for_a_macro_or_a_path_are_refused(tmp_path, units):
    with pytest.raises(OptionError, match="--units"):
        new_bundle(tmp_path / "nissl", "nissl", units=units)


def test_a_zip_begins_with_its_first_member(tmp_path):
    """What stands before is another file, or another zip, to other programs."""
    path = raw_zip(tmp_path / "x.zip", Member("m/a"))
    path.write_bytes(b"#!/bin/sh\necho evil\n" + path.read_bytes())
    with pytest.raises(BundleError):
        BundleZip(path)
    with pytest.raises(BundleError):
        path.write_bytes(struct.pack("<4s", b"PK\3\4") + bytes(100) + path.read_bytes())
        BundleZip(path)
