import torch

from helpers.paths import BUNDLE
from helpers.random_weights import with_random_weights
from mrh_monai.data import ReadingOptions, load_subjects
from mrh_monai.export.network_files import load_exported
from mrh_monai.network.sidecar import read_sidecar
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects import Datalist


def test_export_writes_patches_unless_told_otherwise(call, tmp_path):
    bundle = with_random_weights(BUNDLE, tmp_path)
    status, out, _ = call("export", bundle, "-o", tmp_path / "af.ts")
    assert (status, out.split(",")[0]) == (0, f"{tmp_path / 'af.ts'}: patch")
    assert load_exported(tmp_path / "af.ts")(torch.zeros(2, 67, 3, 3)).shape == (2, 1, 3, 3)
    status, out, _ = call("export", bundle, "-o", tmp_path / "af.onnx", "--what", "slab")
    assert (status, out.split(",")[0]) == (0, f"{tmp_path / 'af.onnx'}: slab")
    image, mask, constants = torch.zeros(67, 4, 1, 5), torch.ones(4, 1, 5, dtype=torch.bool), torch.zeros(67)
    assert load_exported(tmp_path / "af.onnx")(image, mask, constants, constants).shape == (4, 1, 5)


def test_export_says_what_is_wrong(call, bundle_copy, tmp_path):
    status, out, error = call("export", bundle_copy, "-o", tmp_path / "af.ts")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "model.pt: expected trained weights, found no such file" in error
    status, out, error = call("export", bundle_copy, "-o", tmp_path / "af.trt")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "af.trt: expected a name that ends in .ts or .onnx, found .trt" in error


def test_calibrate_measures_and_says_what_was_held(call, study, tmp_path):
    training = load_subjects(Datalist.read(study / "datalist.json").training, MRH_NET, ReadingOptions(need_target=True))
    bundle = with_random_weights(BUNDLE, tmp_path, scaling=RobustScaling.fit(training, weights=MRH_NET.weights), multipliers=(1.0,))
    status, out, _ = call("calibrate", bundle, "--datalist", study / "datalist.json", "--device", "cpu")
    assert (status, out) == (0, "measured on one subject only, so that nobody knows how much of another subject they hold\n")
    assert [each.name for each in read_sidecar(bundle / "models" / "model.pt").intervals.subjects] == ["subject04"]
    status, out, error = call("calibrate", bundle, "--datalist", study / "datalist.json", "--nan", "skip")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "--nan: expected refuse or zero, found 'skip'" in error
