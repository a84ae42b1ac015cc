import json
from dataclasses import replace

import pytest
import torch

from helpers.random_weights import calibration_of, random_head, random_network, sidecar_of
from mrh_monai.errors import CheckpointError
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import (
    load_checkpoint,
    load_interval_head,
    load_network,
    load_strictly,
    save_checkpoint,
    save_intervals,
    weights_bytes,
    with_intervals,
)
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import head_path, read_sidecar, sidecar_path


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


@pytest.fixture
def with_head(tmp_path):
    """Weights with an interval head that was measured on two subjects."""
    network, head = random_network(3, 4, 2), random_head(4)
    sidecar = sidecar_of(network, ["a", "b", "c"], intervals=calibration_of(1.0, 2.0))
    path = tmp_path / "head" / "model.pt"
    return path, save_checkpoint(path, network.state_dict(), sidecar, head), head


def test_an_interval_head_lies_beside_the_weights(with_head):
    path, written, head = with_head
    assert written.intervals.sha256 == sha256(head_path(path)) != written.sha256
    network, sidecar = load_network(path)
    assert sidecar == written
    both = with_intervals(network, path, sidecar)
    assert both.network is network
    assert not both.head.training
    assert all(torch.equal(value, head.state_dict()[key]) for key, value in both.head.state_dict().items())
    assert with_intervals(network, path, sidecar, wanted=False) is network


def test_a_head_that_no_subject_measured_is_not_used(with_head):
    path, sidecar, head = with_head
    network, _ = load_network(path)
    written = save_checkpoint(path, network.state_dict(), replace(sidecar, intervals=None), head)
    assert (written.intervals.subjects, written.gives_intervals) == ((), False)
    assert with_intervals(network, path, read_sidecar(path)) is network


def test_weights_without_a_head_leave_no_older_head_behind(with_head):
    path, sidecar, _ = with_head
    network, _ = load_network(path)
    written = save_checkpoint(path, network.state_dict(), sidecar)
    assert written.intervals is None
    assert not head_path(path).exists()


def test_a_head_must_be_the_one_that_the_sidecar_describes(with_head):
    path, sidecar, _ = with_head
    network, _ = load_network(path)
    head_path(path).write_bytes(weights_bytes(random_head(4, seed=1).state_dict()))
    with pytest.raises(CheckpointError, match=r"model_intervals\.pt: expected the interval head that model\.json describes .*, found ano"):
        with_intervals(network, path, sidecar)
    head_path(path).unlink()
    with pytest.raises(CheckpointError, match=r"model_intervals\.pt: .* found no such file; copy weights, sidecar and interval head toget"):
        with_intervals(network, path, sidecar)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"no tensors", "a PyTorch state dict"),
        (weights_bytes({"a": torch.tensor([float("nan")])}), "found NaN or Inf"),
        (weights_bytes(random_head(5).state_dict()), "an interval head of 4 features"),
        (weights_bytes({"a": torch.zeros(3)}), "an interval head of 4 features"),
    ],
)
def test_a_file_that_is_no_head_is_refused(with_head, content, found):
    path, sidecar, _ = with_head
    network, _ = load_network(path)
    head_path(path).write_bytes(content)
    described = replace(sidecar, intervals=replace(sidecar.intervals, sha256=sha256(head_path(path))))
    with pytest.raises(CheckpointError, match=found):
        with_intervals(network, path, described)


@pytest.mark.parametrize(("name", "value"), [("deviation", 0.0), ("median_error", -1.0)])
def test_a_head_that_would_give_no_interval_is_refused(with_head, name, value):
    path, sidecar, head = with_head
    network, _ = load_network(path)
    with torch.no_grad():
        getattr(head, name).fill_(value)
    save_intervals(path, sidecar, sidecar.intervals, head)
    with pytest.raises(CheckpointError, match="deviations and median error are above 0"):
        with_intervals(network, path, read_sidecar(path))


def test_a_head_of_any_size_is_compared_before_it_is_built(with_head):
    path, sidecar, _ = with_head
    with pytest.raises(CheckpointError, match="an interval head of 4 features"):
        load_interval_head(path, replace(sidecar, patch_radius=30_000))


def test_intervals_are_saved_beside_weights_that_stay(with_head):
    path, sidecar, _ = with_head
    before, head = path.read_bytes(), random_head(4, seed=5)
    written = save_intervals(path, sidecar, calibration_of(7.0), head)
    assert path.read_bytes() == before
    again = read_sidecar(path)
    assert (again.intervals, replace(again, intervals=sidecar.intervals)) == (written, sidecar)
    assert torch.equal(load_interval_head(path, again).first.weight, head.first.weight)
