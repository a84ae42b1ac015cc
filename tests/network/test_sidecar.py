import json

import pytest

from mrh_monai.errors import CheckpointError
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import load_network, save_checkpoint
from mrh_monai.network.sidecar import Sidecar, read_sidecar, sidecar_field, sidecar_path
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling import PublishedScaling


def test_weights_without_sidecar_are_refused(saved):
    sidecar_path(saved[0]).unlink()
    with pytest.raises(CheckpointError, match=r"model.json: expected the sidecar of model.pt"):
        load_network(saved[0])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stain": "af", "scaling": {"mode": "robust"}}', "\x00\xff"])
def test_broken_sidecar_is_refused(saved, text):
    sidecar_path(saved[0]).write_text(text)
    with pytest.raises(CheckpointError, match=r"model.json|scaling"):
        load_network(saved[0])


def test_contradictions_name_both_sides(saved):
    with pytest.raises(
        CheckpointError, match="expected residual_blocks = 5 as asked for, found residual_blocks = 2; leave --residual_blocks out"
    ):
        load_network(saved[0], residual_blocks=5)
    with pytest.raises(CheckpointError, match="expected 2 channels, found 3"):
        load_network(saved[0], ["a", "b"])
    with pytest.raises(CheckpointError, match="expected x as channel 1, found b"):
        load_network(saved[0], ["a", "x", "c"])
    assert load_network(saved[0], residual_blocks=None)[1].residual_blocks == 2


def test_stated_falls_back_only_without_weights(saved, tmp_path):
    assert sidecar_field(saved[0], "residual_blocks", 30, stated=5) == 2
    assert sidecar_field(tmp_path / "none.pt", "residual_blocks", 30) == 30
    assert sidecar_field(tmp_path / "none.pt", "residual_blocks", 30, stated=5) == 5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", None, "channels is None"),
        ("channels", [1, 2, 3], "channels are not names"),
        ("channels", ["a", "b"], "3 scaling constants for 2 channels"),
        ("patch_axes", None, "patch_axes is None"),
        ("patch_axes", [2, 0], "ascending order"),
        ("sha256", None, "sha256 is None"),
        ("residual_blocks", 2.0, "residual_blocks is 2.0"),
        ("patch_radius", 0, "patch_radius is 0"),
        ("parent", "mrh_af", "parent is 'mrh_af'"),
    ],
)
def test_a_sidecar_that_says_nonsense_is_refused(saved, field, value, message):
    path = sidecar_path(saved[0])
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(CheckpointError, match=f"model.json: expected a sidecar of this project, found .*{message}"):
        read_sidecar(saved[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_mean": [0.0]}, "constants outside their range"),
        ({"channel_std": [1.0, 0.0, 1.0]}, "constants outside their range"),
        ({"channel_mean": [0.0, float("nan"), 0.0]}, "constants that are not finite"),
        ({"target_max": 0}, "constants that are not finite"),
        ({"level_percentile": 101}, "constants outside their range"),
    ],
)
def test_scaling_constants_that_cannot_be_are_refused(saved, change, message):
    path = sidecar_path(saved[0])
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "scaling": {**values["scaling"], **change}}))
    with pytest.raises(CheckpointError, match=f"model.json: expected the constants of a trained network, found .*{message}"):
        read_sidecar(saved[0])


# As version 0.1 wrote it, beside weights of the same SHA-256.
BEFORE = """{
  "stain": "af",
  "units": "8-bit autofluorescence",
  "channels": ["a", "b", "c"],
  "residual_blocks": 2,
  "features": 4,
  "patch_axes": [0, 2],
  "patch_radius": 1,
  "scaling": {
    "mode": "robust",
    "channel_mean": [0.1, 0.2, 0.3],
    "channel_std": [0.5, 0.5, 0.5],
    "target_max": 255.0,
    "channel_weight": [1.0, 1.0, 1.0],
    "level_percentile": 99.0
  },
  "sha256": "%s",
  "parent": {"name": "mrh_af", "sha256": "0"},
  "source": {"recipe": "fast", "seed": 1}
}
"""


def test_a_sidecar_of_the_version_before_loads_and_is_written_the_same(saved, tmp_path):
    text = BEFORE % sha256(saved[0])
    sidecar_path(saved[0]).write_text(text)
    network, sidecar = load_network(saved[0], ["a", "b", "c"])
    assert (len(network.blocks), sidecar.patch, sidecar.scaling.mode) == (2, PatchGeometry((0, 2), 1), "robust")
    written = save_checkpoint(tmp_path / "again" / "model.pt", saved[1].state_dict(), sidecar)
    assert written == sidecar
    assert list(json.loads(sidecar_path(tmp_path / "again" / "model.pt").read_text()).items()) == list(json.loads(text).items())


@pytest.mark.parametrize("axes", [[0, 2], [0, 1, 2]])
def test_the_network_of_a_sidecar_has_its_shape(axes):
    network = Sidecar("af", "u", ["a", "b"], 3, 5, axes, 1, PublishedScaling(1.0)).network()
    assert (network.conv1.in_channels, network.conv1.out_channels, len(network.blocks), network.conv5.out_channels) == (2, 5, 3, 1)
    assert network.conv1.weight.ndim == 2 + len(axes)


@pytest.mark.parametrize("stain", ["", "a/b", "../af", "a b", "-af", "a" * 33, "äf"])
def test_a_stain_that_cannot_name_files_is_refused(saved, stain):
    path = sidecar_path(saved[0])
    path.write_text(json.dumps({**json.loads(path.read_text()), "stain": stain}))
    with pytest.raises(CheckpointError, match=r"model\.json: expected a sidecar of this project, found .*the stain"):
        read_sidecar(saved[0])


def test_a_folder_in_the_place_of_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="expected trained weights, found a folder; train the bundle first"):
        read_sidecar(tmp_path)
