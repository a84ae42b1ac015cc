"""Starting from another network: exactly which tensors are copied, replaced and frozen."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.network.checkpoint import Sidecar, save_checkpoint
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.scaling.intensity_scaling import Scaling
from mrh_monai.training.optimisation import make_optimizer
from mrh_monai.training.transfer import convolutions, depth, inherited_scaling, load_parent, start_from

NAMES = ["a", "b", "c", "d"]
SIDECAR = Sidecar("af", "u", NAMES, 2, 5, [0, 2], 1, Scaling("robust", (0.0,) * 4, (1.0,) * 4, 255.0, (1.0,) * 4, 99.0))


@pytest.fixture
def parent_bundle(tmp_path):
    """A bundle folder with trained weights and a version."""
    root = tmp_path / "mrh_af"
    torch.manual_seed(1)
    save_checkpoint(root / "models" / "model.pt", MRHNet(4, 5, 2, initialisation="he").state_dict(), SIDECAR)
    (root / "configs").mkdir()
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.3"}))
    return root


@pytest.fixture
def child(tmp_path):
    """The folder of a bundle that declares its parent."""
    root = tmp_path / "mrh_nf"
    (root / "configs").mkdir(parents=True)
    declared = {"pretrained": {"name": "mrh_af", "version": ">=0.1,<0.2"}}
    (root / "configs" / "metadata.json").write_text(json.dumps(declared))
    return root


@pytest.fixture
def parent(parent_bundle, child):
    return load_parent(parent_bundle, child)


def fresh(channels=4, blocks=2, features=5, **options):
    torch.manual_seed(2)
    return MRHNet(channels, features, blocks, initialisation="he", **options)


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


@pytest.mark.parametrize(("frozen", "replaced"), [(0, 0), (2, 0), (-3, 0), (0, 2), (2, 1), (8, 0)])
def test_what_is_copied_replaced_and_frozen_is_exactly_so(parent, frozen, replaced):
    network = fresh()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    same, lineage = start_from(network, parent, NAMES, frozen=frozen, replaced=replaced)
    assert same is network
    order = convolutions(network)
    assert order == ["conv1", "conv2", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "conv4", "conv5"]
    renewed, still = order[len(order) - replaced :], order[:frozen]
    for key, value in network.state_dict().items():
        layer = key.rpartition(".")[0]
        assert torch.equal(value, (before if layer in renewed else parent.state)[key])
        assert (key in lineage["copied"], key in lineage["replaced"]) == (layer not in renewed, layer in renewed)
        assert (key in lineage["frozen"]) == (layer in still)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {key for key in before if key.rpartition(".")[0] not in still}
    assert lineage["sha256"] == parent.sidecar.sha256
    assert not torch.equal(before["conv4.weight"], parent.state["conv4.weight"])


def test_frozen_tensors_stay_bit_for_bit_and_the_head_learns_faster(parent):
    network, lineage = start_from(fresh(), parent, NAMES, frozen=2, replaced=2)
    optimizer = make_optimizer(network, "sgd", 0.01, 0.1, head=lineage["replaced"], head_factor=10.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        expected = None if name in lineage["frozen"] else 0.1 if name in lineage["replaced"] else 0.01
        assert rates.get(id(parameter)) == (expected if expected is None else pytest.approx(expected))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(3):
        network(torch.randn(8, 4, 3, 3)).square().mean().backward()
        optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == (key in lineage["frozen"])


def test_the_same_channels_in_another_order_are_copied_by_name(parent):
    names = ["c", "a", "d", "b"]
    network, _ = start_from(fresh(), parent, names)
    x = torch.randn(6, 4, 3, 3)
    reference = fresh()
    reference.load_state_dict(parent.state)
    torch.testing.assert_close(network(x[:, [NAMES.index(name) for name in names]]), reference(x))


def test_other_channels_need_the_users_word(parent):
    names = ["b", "t1", "d"]
    with pytest.raises(
        CheckpointError,
        match="the same channels, found 1 that only this bundle has: t1; 2 that only the parent has: a, c; give --new_channels True",
    ):
        start_from(fresh(3), parent, names)
    network = fresh(3)
    before = network.conv1.weight.clone()
    _, lineage = start_from(network, parent, names, new_channels=True)
    theirs = parent.state["conv1.weight"]
    assert torch.equal(network.conv1.weight[:, [0, 2]], theirs[:, [1, 3]])
    assert torch.equal(network.conv1.weight[:, 1], before[:, 1])
    assert (lineage["new_channels"], lineage["dropped_channels"]) == (["t1"], ["a", "c"])
    assert lineage["partly_copied"] == ["conv1.weight"]
    assert "conv1.weight" not in lineage["copied"] + lineage["replaced"]


@pytest.mark.parametrize(
    ("names", "frozen", "state", "still"),
    [
        (["b", "t1", "d"], 2, "partly_copied", set()),
        (["x", "y", "z"], 2, "replaced", set()),
        (["a", "c"], 2, "copied", set()),
        (["x", "y", "z"], -3, "replaced", {"conv2", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1"}),
    ],
)
def test_with_other_channels_the_first_convolution_is_trained(parent, names, frozen, state, still):
    network, lineage = start_from(fresh(len(names)), parent, names, frozen=frozen, new_channels=True)
    assert "conv1.weight" in lineage[state]
    assert sum("conv1.weight" in lineage[key] for key in ("copied", "partly_copied", "replaced")) == 1
    assert network.conv1.weight.requires_grad
    assert {key.rpartition(".")[0] for key in lineage["frozen"]} == still


def test_what_is_new_is_not_frozen(parent):
    with pytest.raises(OptionError, match="expected new convolutions that are trained, found 8, 2"):
        start_from(fresh(), parent, NAMES, frozen=8, replaced=2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"blocks": 5}, "expected 5 residual blocks as this network has, found 2; give --residual_blocks 2, or drop it"),
        ({"features": 6}, "expected 6 features as this network has, found 5"),
        ({"spatial_dims": 3}, "expected 3 patch axes as this network has, found 2"),
    ],
)
def test_a_parent_of_another_shape_is_refused(parent, network, message):
    with pytest.raises(CheckpointError, match=message):
        start_from(fresh(**network), parent, NAMES)
    with pytest.raises(OptionError, match="at most 8 convolutions"):
        start_from(fresh(), parent, NAMES, frozen=9)


def test_a_parent_of_another_architecture_is_refused(parent):
    state = {**parent.state, "conv9.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="tensor conv9.weight: expected an MRH-Net's: none"):
        start_from(fresh(), replace(parent, state=state), NAMES)
    state = {key: value for key, value in parent.state.items() if key != "conv4.bias"}
    with pytest.raises(CheckpointError, match="tensor conv4.bias: expected an MRH-Net's"):
        start_from(fresh(), replace(parent, state=state), NAMES)


def test_depth_and_scaling_are_the_parents(parent):
    assert [depth(asked, given, 30) for asked, given in ((None, parent), (5, parent), (None, None), (5, None))] == [2, 5, 30, 5]
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
        with pytest.raises(CheckpointError, match=r"mrh_af\.zip: expected a bundle zip, found a damaged one"):
            load_parent(path, child)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no bundle")
    with pytest.raises(CheckpointError, match=r"expected models/model\.pt in it, found none"):
        load_parent(path, child)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mrh_af/models/model.pt", b"weights without a sidecar")
    with pytest.raises(CheckpointError, match=r"mrh_af\.zip: expected models/model\.json in it, found none"):
        load_parent(path, child)
