"""Loading the network from which a bundle starts."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from helpers.parents import NAMES
from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.training.parent import inherited_scaling, load_parent, number_of_residual_blocks


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
    return path


def test_a_folder_a_zip_and_a_pt_give_the_same_parent(parent_bundle, child, tmp_path):
    places = (parent_bundle, zipped(parent_bundle, tmp_path / "mrh_af.zip"), parent_bundle / "models" / "model.pt")
    parents = [load_parent(str(place), child) for place in places]
    assert len({found.sidecar.sha256 for found in parents}) == 1
    assert all(torch.equal(parents[0].state[key], other.state[key]) for other in parents for key in other.state)
    assert load_parent(None, child) is None


def test_depth_and_scaling_are_the_parents(parent):
    assert [number_of_residual_blocks(asked, given, 30) for asked, given in ((None, parent), (5, parent), (None, None), (5, None))] == [
        2,
        5,
        30,
        5,
    ]
    assert inherited_scaling(parent, NAMES) is parent.sidecar.scaling
    assert inherited_scaling(parent, NAMES, "robust") is parent.sidecar.scaling
    assert inherited_scaling(parent, ["a", "b"]) is None
    assert inherited_scaling(None, NAMES, "published") is None
    with pytest.raises(OptionError, match="scaling: expected robust as the parent .* has, found published"):
        inherited_scaling(parent, NAMES, "published")


def test_missing_weights_end_in_a_sentence_that_says_how_to_get_them(parent_bundle, child, tmp_path):
    shutil.rmtree(parent_bundle / "models")
    for place in (parent_bundle, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=r"the parent's trained weights, found .*mrh import-matlab.* --pretrained none"):
            load_parent(place, child)


def test_a_bundle_is_not_its_own_parent(parent_bundle):
    for place in (parent_bundle, parent_bundle / "models" / "model.pt", parent_bundle / "configs" / ".."):
        with pytest.raises(CheckpointError, match="expected another bundle as parent, found the bundle itself"):
            load_parent(place, parent_bundle)


def test_a_copy_of_a_bundles_own_weights_is_not_its_parent(parent_bundle, child, tmp_path):
    path = zipped(parent_bundle, tmp_path / "self.zip")
    with pytest.raises(
        CheckpointError, match=r"self\.zip: expected another bundle's weights as parent, found a copy of .*, the bundle's own"
    ):
        load_parent(path, parent_bundle)
    assert load_parent(path, child)
    (child / "models").mkdir(exist_ok=True)
    for name, content in (("model.pt", b"of another day"), ("model.json", b"{}")):
        (child / "models" / name).write_bytes(content)
    assert load_parent(path, child)  # whose own weights cannot be read, and are trained anew


@pytest.mark.parametrize("declared", ["mrh_af", {"name": "mrh_af"}, {"name": "mrh_af", "version": "abc"}])
def test_a_declaration_that_cannot_be_read_is_named(parent_bundle, child, declared):
    (parent_bundle / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    (child / "configs" / "metadata.json").write_text(json.dumps({"pretrained": declared}))
    with pytest.raises(CheckpointError, match=r"mrh_nf/configs/metadata\.json: expected `pretrained` with a name and a range of versions"):
        load_parent(parent_bundle, child)


def test_the_declared_version_is_held_against_the_parents(parent_bundle, child, tmp_path):
    (parent_bundle / "configs" / "metadata.json").write_text(json.dumps({"version": "0.2.0"}))
    for place in (parent_bundle, zipped(parent_bundle, tmp_path / "other.zip")):
        with pytest.raises(CheckpointError, match="expected mrh_af of version >=0.1,<0.2 as mrh_nf declares, found version 0.2.0"):
            load_parent(place, child)
    assert load_parent(Path(shutil.copytree(parent_bundle, tmp_path / "mine")), child)  # another bundle, named on purpose


def test_damaged_zips_are_one_sentence(parent_bundle, child, tmp_path):
    path = zipped(parent_bundle, tmp_path / "mrh_af.zip")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + b"XXXX" + whole[204:], b"no zip"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"mrh_af\.zip: expected a bundle zip, found a damaged (zip|file)"):
            load_parent(path, child)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no bundle")
    with pytest.raises(CheckpointError, match=r"expected a zip with models/model\.pt, found a zip without it"):
        load_parent(path, child)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mrh_af/models/model.pt", b"weights without a sidecar")
    with pytest.raises(CheckpointError, match=r"mrh_af\.zip: expected a zip with models/model\.json, found a zip without it"):
        load_parent(path, child)
