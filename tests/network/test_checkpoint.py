import json

import pytest
import torch

from mrh_monai.errors import CheckpointError
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import load_checkpoint, load_network, load_strictly, weights_bytes
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import sidecar_path


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


def test_sidecar_of_other_weights_is_refused(saved):
    saved[0].write_bytes(weights_bytes(MRHNet(3, 4, 2).state_dict()))
    with pytest.raises(CheckpointError, match=r"the weights that model.json describes \(SHA-256 .*copy both files"):
        load_network(saved[0])


def test_file_that_is_no_state_dict_is_refused(saved):
    path = saved[0]
    path.write_bytes(b"nothing")
    values = json.loads(sidecar_path(path).read_text())
    from mrh_monai.io.files import sha256

    sidecar_path(path).write_text(json.dumps({**values, "sha256": sha256(path)}))
    with pytest.raises(CheckpointError, match="expected a PyTorch state dict"):
        load_checkpoint(path)


def test_every_key_and_shape_must_fit(saved):
    state = saved[1].state_dict()
    with pytest.raises(
        CheckpointError,
        match=r"blocks.2.conv1.weight: expected this tensor \(3 residual blocks\), found no such tensor \(2 residual blocks\)",
    ):
        load_strictly(MRHNet(3, 4, 3), state, "model.pt")
    with pytest.raises(
        CheckpointError,
        match=r"blocks.1.conv1.weight: expected no such tensor \(1 residual blocks\), found this tensor \(2 residual blocks\)",
    ):
        load_strictly(MRHNet(3, 4, 1), state, "model.pt")
    with pytest.raises(CheckpointError, match=r"conv1.weight: expected shape \(4, 5, 3, 3\), found \(4, 3, 3, 3\)"):
        load_strictly(MRHNet(5, 4, 2), state, "model.pt")


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
