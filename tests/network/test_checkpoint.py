import json

import pytest
import torch

from mrh_monai.errors import CheckpointError
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import (
    Sidecar,
    load_checkpoint,
    load_network,
    load_strictly,
    read_sidecar,
    save_checkpoint,
    sidecar_path,
    stated,
    weights_bytes,
)
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.scaling.intensity_scaling import Scaling


@pytest.fixture
def saved(tmp_path):
    network = MRHNet(3, 4, 2)
    scaling = Scaling("robust", (0.0,) * 3, (1.0,) * 3, 255.0, (1.0,) * 3, 99.0)
    sidecar = Sidecar("af", "units", ["a", "b", "c"], 2, 4, [0, 2], 1, scaling, source={"seed": 1})
    return tmp_path / "model.pt", network, save_checkpoint(tmp_path / "model.pt", network.state_dict(), sidecar)


def test_comes_back_whole(saved):
    path, network, sidecar = saved
    loaded, again = load_network(path, ["a", "b", "c"], residual_blocks=2)
    assert again == sidecar
    assert not loaded.training
    x = torch.randn(4, 3, 3, 3)
    torch.testing.assert_close(loaded(x), network(x), rtol=0, atol=0)


def test_weights_are_a_plain_state_dict(saved):
    state = torch.load(saved[0], weights_only=True)
    assert list(state) == list(saved[1].state_dict())


def test_same_weights_give_the_same_bytes(saved):
    path, network, _ = saved
    assert weights_bytes(network.state_dict()) == path.read_bytes()
    copy = {
        key: value.clone().to(memory_format=torch.channels_last) if value.ndim == 4 else value
        for key, value in network.state_dict().items()
    }
    assert weights_bytes(copy) == path.read_bytes()


def test_no_weights_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"model.pt: expected trained weights, found no such file; train the bundle first"):
        load_network(tmp_path / "model.pt")


def test_weights_without_sidecar_are_refused(saved):
    sidecar_path(saved[0]).unlink()
    with pytest.raises(CheckpointError, match=r"model.json: expected the sidecar of model.pt"):
        load_network(saved[0])


def test_sidecar_of_other_weights_is_refused(saved):
    saved[0].write_bytes(weights_bytes(MRHNet(3, 4, 2).state_dict()))
    with pytest.raises(CheckpointError, match=r"the weights that model.json describes \(SHA-256 .*copy both files"):
        load_network(saved[0])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stain": "af", "scaling": {"mode": "robust"}}', "\x00\xff"])
def test_broken_sidecar_is_refused(saved, text):
    sidecar_path(saved[0]).write_text(text)
    with pytest.raises(CheckpointError, match=r"model.json|scaling"):
        load_network(saved[0])


def test_file_that_is_no_state_dict_is_refused(saved):
    path = saved[0]
    path.write_bytes(b"nothing")
    values = json.loads(sidecar_path(path).read_text())
    from mrh_monai.io.files import sha256

    sidecar_path(path).write_text(json.dumps({**values, "sha256": sha256(path)}))
    with pytest.raises(CheckpointError, match="expected a PyTorch state dict"):
        load_checkpoint(path)


def test_contradictions_name_both_sides(saved):
    with pytest.raises(
        CheckpointError, match="expected residual_blocks = 5 as asked for, found residual_blocks = 2; drop --residual_blocks"
    ):
        load_network(saved[0], residual_blocks=5)
    with pytest.raises(CheckpointError, match="expected 2 channels, found 3"):
        load_network(saved[0], ["a", "b"])
    with pytest.raises(CheckpointError, match="expected x as channel 1, found b"):
        load_network(saved[0], ["a", "x", "c"])
    assert load_network(saved[0], residual_blocks=None)[1].residual_blocks == 2


def test_every_key_and_shape_must_fit(saved):
    state = saved[1].state_dict()
    with pytest.raises(
        CheckpointError, match=r"blocks.2.conv1.weight: expected it \(3 residual blocks\), found none \(2 residual blocks\)"
    ):
        load_strictly(MRHNet(3, 4, 3), state, "model.pt")
    with pytest.raises(CheckpointError, match=r"blocks.1.conv1.weight: expected no such tensor \(1 residual blocks\), found it"):
        load_strictly(MRHNet(3, 4, 1), state, "model.pt")
    with pytest.raises(CheckpointError, match=r"conv1.weight: expected shape \(4, 5, 3, 3\), found \(4, 3, 3, 3\)"):
        load_strictly(MRHNet(5, 4, 2), state, "model.pt")


def test_stated_falls_back_only_without_weights(saved, tmp_path):
    assert stated(saved[0], "residual_blocks", 30, asked=5) == 2
    assert stated(tmp_path / "none.pt", "residual_blocks", 30) == 30
    assert stated(tmp_path / "none.pt", "residual_blocks", 30, asked=5) == 5


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
        ({"channel_mean": [0.0]}, "constants that cannot be"),
        ({"channel_std": [1.0, 0.0, 1.0]}, "constants that cannot be"),
        ({"channel_mean": [0.0, float("nan"), 0.0]}, "constants that are not finite"),
        ({"target_max": 0}, "constants that are not finite"),
        ({"level_percentile": 101}, "constants that cannot be"),
    ],
)
def test_scaling_constants_that_cannot_be_are_refused(saved, change, message):
    path = sidecar_path(saved[0])
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "scaling": {**values["scaling"], **change}}))
    with pytest.raises(CheckpointError, match=f"model.json: expected the constants of a trained network, found .*{message}"):
        read_sidecar(saved[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "model.pt: expected a plain state dict of finite numbers, found a list"),
        ({"epoch": 3}, "model.pt, epoch: expected a plain state dict of finite numbers, found a int"),
        ({"conv1.weight": torch.tensor([1.0, float("nan")])}, "model.pt, tensor conv1.weight: .* found NaN or Inf"),
    ],
)
def test_a_file_that_holds_no_plain_weights_is_refused(saved, content, message):
    path = saved[0]
    torch.save(content, path)
    values = json.loads(sidecar_path(path).read_text())
    sidecar_path(path).write_text(json.dumps({**values, "sha256": sha256(path)}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)
