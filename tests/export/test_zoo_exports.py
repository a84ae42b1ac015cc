"""`ckpt_export` and `onnx_export` of MONAI for each shipped bundle, from another folder."""

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export
from monai.data import load_net_with_metadata

from helpers.paths import BUNDLE, ROOT
from helpers.random_weights import with_random_weights
from mrh_monai.bundle.template_rendering import SHIPPED
from mrh_monai.network.checkpoint import load_network

pytestmark = pytest.mark.sharing


@pytest.fixture(params=[spec.folder for spec in SHIPPED])
def bundle(request, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return with_random_weights(ROOT / "bundles" / request.param, tmp_path)


def named(bundle):
    """The options that the model zoo's pages give."""
    return {
        "net_id": "network_def", "ckpt_file": str(bundle / "models" / "model.pt"), "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.yaml"), "bundle_root": str(bundle),
    }  # fmt: skip


def expected(bundle, patches):
    network, _ = load_network(bundle / "models" / "model.pt")
    with torch.no_grad():
        return network(patches)


def test_ckpt_export_gives_the_network(bundle, tmp_path):
    ckpt_export(filepath=str(tmp_path / "net.ts"), **named(bundle))
    module, metadata, configs = load_net_with_metadata(str(tmp_path / "net.ts"), more_extra_files=["inference.json"])
    patches = torch.randn(9, 67, 3, 3)
    torch.testing.assert_close(module(patches), expected(bundle, patches), rtol=1e-5, atol=1e-5)
    assert metadata["name"].startswith("Virtual")
    assert b"network_def" in configs["inference.json"]


def test_onnx_export_gives_the_network(bundle, tmp_path):
    onnx_export(filepath=str(tmp_path / "net.onnx"), **named(bundle))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    patch = torch.randn(1, 67, 3, 3)
    (found,) = session.run(None, {session.get_inputs()[0].name: patch.numpy()})
    np.testing.assert_allclose(found, expected(bundle, patch).numpy(), rtol=1e-5, atol=1e-5)


def test_onnx_export_of_any_batch_size(tmp_path):
    bundle = with_random_weights(BUNDLE, tmp_path)
    batch = {"input_names": ["image"], "output_names": ["pred"], "dynamic_axes": {"image": [0]}}
    onnx_export(filepath=str(tmp_path / "net.onnx"), converter_kwargs=batch, **named(bundle))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    patches = torch.randn(5, 67, 3, 3)
    np.testing.assert_allclose(session.run(["pred"], {"image": patches.numpy()})[0], expected(bundle, patches).numpy(), atol=1e-5)


def test_ckpt_export_needs_to_know_the_bundle_alone(bundle):
    ckpt_export(config_file=str(bundle / "configs" / "inference.yaml"), bundle_root=str(bundle))
    patches = torch.randn(3, 67, 3, 3)
    torch.testing.assert_close(torch.jit.load(bundle / "models" / "model.ts")(patches), expected(bundle, patches), rtol=1e-5, atol=1e-5)


def test_weights_of_another_depth_are_not_exported(tmp_path):
    """Without weights in models/ the config builds the paper's 30 blocks; MONAI loads what it is given into that strictly."""
    bundle = with_random_weights(BUNDLE, tmp_path)
    moved = (bundle / "models").rename(tmp_path / "weights") / "model.pt"
    options = {**named(bundle), "ckpt_file": str(moved), "filepath": str(tmp_path / "net.ts")}
    with pytest.raises(RuntimeError, match="Missing key"):
        ckpt_export(**options)
    ckpt_export(**options, ckpt_path=str(moved))
    patches = torch.randn(3, 67, 3, 3)
    network, _ = load_network(moved)
    torch.testing.assert_close(torch.jit.load(tmp_path / "net.ts")(patches), network(patches), rtol=1e-5, atol=1e-5)
