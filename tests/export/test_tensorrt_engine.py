"""TensorRT's overlay: refused without a GPU, run through with a stand-in, and for real where there is one."""

from importlib.util import find_spec
from types import MethodType

import monai.networks
import nibabel
import numpy as np
import onnxruntime
import pytest
import torch
from monai.networks.utils import convert_to_onnx

import mrh_monai.export
from helpers.bundle_runs import bundle_run
from helpers.paths import BUNDLE
from helpers.random_weights import random_network, sidecar_of, with_random_weights
from mrh_monai.errors import OptionError, root_cause
from mrh_monai.export import tensorrt_engine as tensorrt

pytestmark = [pytest.mark.sharing, pytest.mark.usefixtures("undo_hooks")]
CONFIGS = ("inference.yaml", "inference_trt.yaml")


def predicted(folder):
    return nibabel.load(folder / "subject04" / "subject04_af.nii.gz").get_fdata()


def options(study, out, **more):
    return {"datalist": str(study / "datalist.json"), "output_dir": str(out), "slices": "2:4", "report": False, **more}


def test_without_a_gpu_the_overlay_ends_in_a_sentence(study, tmp_path):
    bundle = with_random_weights(BUNDLE, tmp_path)
    with pytest.raises(RuntimeError) as caught:
        bundle_run(bundle, *CONFIGS, **options(study, tmp_path / "out", device="cpu"))
    error = root_cause(caught.value)
    assert isinstance(error, OptionError)
    assert "inference_trt.yaml: expected a CUDA device and tensorrt, found device cpu" in str(error)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: None if name in ("tensorrt", "polygraphy") else name)
    with pytest.raises(OptionError, match=r"expected a CUDA device and tensorrt, found no tensorrt, no polygraphy; leave"):
        tensorrt.check_tensorrt("cuda")
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: name)
    tensorrt.check_tensorrt("cuda")


def test_an_engine_is_named_after_what_it_was_built_for():
    network = random_network(2, 4)
    sidecar = sidecar_of(network, "ab")
    args = tensorrt.engine_args("cpu", "float32", 4096)
    assert args == {"precision": "fp32", "dynamic_batchsize": [1, 4096, 4096]}
    assert tensorrt.engine_args("cuda", "tf32", 64)["precision"] == "tf32"
    names = {tensorrt.engine_path("models/model.pt", sidecar, {**args, **other}) for other in ({}, {"precision": "tf32"})}
    names.add(tensorrt.engine_path("models/model.pt", sidecar, tensorrt.engine_args("cpu", "float32", 64)))
    assert len(names) == 3
    assert all(name.startswith("models/model.trt-") for name in names)


def test_the_overlay_predicts_with_the_compiled_network(study, tmp_path, monkeypatch):
    """With a stand-in that changes a network as MONAI's `trt_compile` does: its forward is another, its class is not."""
    calls = []

    def compiled(network, path, args):
        plain = network.forward

        def forward(self, x):
            calls.append((path, args, tuple(x.shape)))
            return plain(x)

        network.forward = MethodType(forward, network)
        return network

    monkeypatch.setattr(monai.networks, "trt_compile", compiled)
    monkeypatch.setattr(mrh_monai.export, "check_tensorrt", lambda device: None)
    bundle = with_random_weights(BUNDLE, tmp_path)
    bundle_run(bundle, *CONFIGS, **options(study, tmp_path / "trt", device="cpu", batch_size=64))
    bundle_run(bundle, "inference.yaml", **options(study, tmp_path / "plain", device="cpu", batch_size=64))
    np.testing.assert_allclose(predicted(tmp_path / "trt"), predicted(tmp_path / "plain"), rtol=1e-5, atol=2.5e-3)
    assert {shape for _, _, shape in calls} == {(64, 67, 3, 3)}
    assert calls[0][0].startswith(str(bundle / "models" / "model.trt-"))
    assert calls[0][1] == {"precision": "fp32", "dynamic_batchsize": [1, 64, 64]}


def test_the_network_becomes_onnx_as_monais_compiler_asks():
    """The step before TensorRT's own, which needs no GPU; voxels are predicted in inference mode."""
    network = random_network(3, 4)
    with torch.inference_mode():
        model = convert_to_onnx(network, {"x": torch.randn(8, 3, 3, 3)}, input_names=["x"], output_names=[], dynamic_axes={"x": [0]})
        patches = torch.randn(5, 3, 3, 3)
        expected = network(patches)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": patches.numpy()})[0], expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(
    not torch.cuda.is_available() or any(find_spec(name) is None for name in tensorrt.LIBRARIES),
    reason="no CUDA device with tensorrt and polygraphy",
)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("tf32", 2e-2)])
def test_tensorrt_agrees_with_pytorch(study, tmp_path, precision, tolerance):
    bundle = with_random_weights(BUNDLE, tmp_path, residual_blocks=5)
    more = {"device": "cuda", "batch_size": 256}
    bundle_run(bundle, *CONFIGS, **options(study, tmp_path / "trt", precision=precision, **more))
    bundle_run(bundle, "inference.yaml", **options(study, tmp_path / "plain", **more))
    plain = predicted(tmp_path / "plain")
    assert np.abs(predicted(tmp_path / "trt") - plain).max() <= tolerance * np.abs(plain).max()
    assert len(list((bundle / "models").glob("model.trt-*.plan"))) == 1
