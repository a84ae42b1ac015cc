"""Ways around `mrh verify`: code that it could overlook, and bombs."""

import io
import json
import subprocess
import sys
import tracemalloc
import zipfile

import pytest
import torch
import yaml

from helpers.strange_zips import INFERENCE, SIDECAR, Member, deflated_zeros, other_weights, raw_zip, strange
from mrh_monai.errors import BundleError, CheckpointError
from mrh_monai.io.bundle_zip import BundleZip
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.sharing.unpacking import unpack, verify

pytestmark = pytest.mark.sharing


@pytest.mark.parametrize("key", ["x::_target_", "x#_target_", "x::0::_target_", "+x::_target_", "+_target_", "x:::_target_"])
def test_a_target_in_a_key_that_reaches_down_is_foreign(key):
    """MONAI's `merge_kv` sets a top-level key `a::_target_` of a file as a's `_target_`."""
    assert strange("configs/x.json", json.dumps({"x": {}, key: "os.system"})) == [(key, "id", key)]
    mode = key.replace("_target_", "_mode_")
    assert strange("configs/x.json", json.dumps({"x": {}, mode: "debug"})) == [(mode, "id", mode)]


def test_no_verified_config_runs_a_command(files, zipped, tmp_path):
    more = '\nx: {command: "echo > pwned"}\nx::_target_: os.system\ninitialize::0: "@x"\n'
    path = zipped({INFERENCE: files[INFERENCE] + more.encode()})
    try:
        root = unpack(path, tmp_path / "out")
    except BundleError:
        return
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(root / INFERENCE)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("inner", [{"_target_": "Compose"}, ["Compose"]])
def test_a_target_that_is_itself_made_is_foreign(inner):
    assert [kind for _, kind, _ in strange("configs/x.json", json.dumps({"x": {"_target_": inner}}))] == ["target"]


def test_a_breakpoint_is_foreign():
    assert strange("configs/x.json", json.dumps({"x": {"_target_": "Compose", "_debug_": True}})) != []


@pytest.mark.parametrize("key", ["output_dir", "ckpt_path", "bundle_root", "datalist", "recorder::bundle_weights"])
def test_only_the_parent_may_lie_outside(key):
    """`$@bundle_root + '/../../x'` is allowed wherever it stands, so that results go over any file."""
    text = "$@bundle_root + '/../../../../home/anna/.ssh'"
    assert (key, "expression", text) in strange("configs/inference.yaml", json.dumps({key: text}))


def test_the_parents_place_is_nobody_elses():
    text = "{pretrained: \"$@bundle_root + '/../../../home/anna'\", output_dir: '@pretrained'}"
    assert strange("configs/train.yaml", text) != []


@pytest.mark.parametrize(
    "name", [".vscode/tasks.json", ".github/workflows/x.yml", ".devcontainer.json", "package.json", "docs/.x.md", "a/b.txt"]
)
def test_files_beside_a_bundles_own_folders_are_foreign(name):
    assert strange(name, "{}") != []


def test_text_is_the_same_in_the_encoding_of_any_system():
    """MONAI opens configs in the system's encoding: in cp932 (Japanese Windows) the byte 0x81 takes the backslash after it along."""
    content = 'a: "\u00c1\\"\nx: $evil\nb: " #"\n'.encode()
    assert yaml.safe_load(content.decode("cp932"))["x"] == "$evil"
    assert "x" not in yaml.safe_load(content)
    assert "encoding" in [kind for _, kind, _ in strange("configs/inference.yaml", content)]


def test_a_member_that_lies_about_its_size_is_not_unpacked_into_memory(tmp_path):
    path = raw_zip(tmp_path / "x.zip", Member("m/a", deflated_zeros(256), zipfile.ZIP_DEFLATED, 99, crc=1))
    tracemalloc.start()
    with BundleZip(path) as archive, pytest.raises(BundleError):
        archive.read("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # 513 MiB


def test_deflated_weights_are_no_bomb(files, zipped):
    """torch reads deflated records, so that `model.pt` itself can be a bomb; torch.save never deflates."""
    plain, bomb = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(1 << 20)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    with pytest.raises(CheckpointError, match="PyTorch state dict|compress|stored"):
        verify(zipped(other_weights(files, bomb.getvalue())))


def state_of(files):
    return torch.load(io.BytesIO(files["models/model.pt"]), weights_only=True)


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def test_one_number_is_not_shown_as_many(files, zipped, monkeypatch):
    """A stride of 0 makes 4 bytes a tensor of any size, whose isfinite() fills the memory: 7.6 GiB and a minute for 2^30 elements."""
    looked_at = []
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda tensor: looked_at.append(tensor.numel()) or torch.isfinite(tensor))
    wide = state_of(files) | {"conv1.bias": torch.zeros(1).expand(1 << 24)}
    with pytest.raises(CheckpointError, match="conv1.bias"):
        verify(zipped(other_weights(files, saved(wide))))
    assert max(looked_at, default=0) < 1 << 24


@pytest.mark.parametrize("tensor", [torch.empty(8, device="meta"), torch.eye(8).to_sparse(), torch.zeros(8, dtype=torch.float8_e4m3fn)])
def test_tensors_of_another_kind_are_one_sentence(files, zipped, tensor):
    with pytest.raises(CheckpointError, match="conv1.bias"):
        verify(zipped(other_weights(files, saved(state_of(files) | {"conv1.bias": tensor}))))


@pytest.mark.parametrize("key", [1, "a\nerror: b", ("a",)])
def test_keys_of_another_kind_are_one_sentence(files, zipped, key):
    with pytest.raises(CheckpointError) as caught:
        verify(zipped(other_weights(files, saved(state_of(files) | {key: torch.zeros(1)}))))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("changes", [{"features": 10**6}, {"features": 10**30}, {"residual_blocks": 3000}])
def test_a_network_is_not_built_before_its_size_is_known(files, zipped, changes, monkeypatch):
    monkeypatch.setattr(Sidecar, "network", lambda self: pytest.fail("built"))
    with pytest.raises(CheckpointError):
        verify(zipped({SIDECAR: json.dumps(json.loads(files[SIDECAR]) | changes)}))


@pytest.mark.parametrize(
    ("place", "lines"),
    [
        # Inductor pastes such a text into a compiler's command line, whose options can run any program.
        ("evaluator::compile_kwargs", "evaluator:\n  compile_kwargs: {options: {cpp.enable_floating_point_contract_flag: -wrapper sh}}\n"),
        ("evaluator::compile", "evaluator:\n  compile: true\n"),
        ("dataloader::worker_init_fn", "dataloader:\n  worker_init_fn: x\n"),
        ("preprocessing::transforms::0::more", "preprocessing:\n  transforms:\n    - more: 1\n"),
        ("preprocessing::transforms::1", "preprocessing:\n  transforms:\n    - {}\n    - {}\n"),
        ("handlers::0", "handlers: [{}]\n"),
        ("protocol", "protocol: {a: 1}\n"),
        ("finalize", "finalize: [1]\n"),
    ],
)
def test_what_is_called_has_our_arguments_and_no_others(place, lines):
    assert [found for found, _, _ in strange("configs/inference.yaml", lines)] == [place]


def test_plain_values_are_free():
    text = "batch_size: 128\nslices: [[0, 3], [5, 7]]\nreport: false\nresidual_blocks: 5\nsupport: fa\nnan: zero\n"
    assert strange("configs/inference.yaml", text) == []
    assert strange("configs/train.yaml", "recipes: {fast: {epochs: 9, patches: null}}\nstain: nissl\npatch_axes: [0, 1, 2]\n") == []
