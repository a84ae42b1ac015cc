import nibabel
import numpy as np
import pytest
import scipy.io

from helpers.commands import mrh
from helpers.matlab_files import mrh_net, write_network
from helpers.patch_file_writing import write_patch_file
from mrh_monai.io.nibabel_files import write_analyze


def test_a_matlab_network_goes_into_a_bundle_predicts_and_comes_out_again(call, untrained_bundle, study, tmp_path):
    network = write_network(tmp_path / "own" / "net.mat", *mrh_net(2, 67, 8))
    status, _, err = call("import-matlab", network, "--bundle", untrained_bundle, "--target-max", 255)
    assert (status, "model.pt: expected a free name" in err) == (1, True)  # the bundle has weights that were not imported
    for more in (["--overwrite"], []):
        status, out, _ = call("import-matlab", network, "--bundle", untrained_bundle, "--target-max", 255, *more)
        assert status == 0
    assert "2 residual blocks, 67 channels, 8 features, published scaling, training ended at RMSE 0.48 of a patch" in out
    assert call("predict", untrained_bundle, study / "subject01", "-o", tmp_path / "af.nii.gz")[0] == 0
    voxels = nibabel.load(tmp_path / "af.nii.gz").get_fdata()
    assert voxels[1:-1, :, 1:-1].any()
    assert not voxels[[0, -1]].any()
    assert not voxels[:, :, [0, -1]].any()
    status, out, _ = call("export-matlab", untrained_bundle, "-o", tmp_path / "again.mat")
    assert (status, sorted(path.name for path in tmp_path.glob("again.*"))) == (0, ["again.m", "again.mat"])
    assert "in MATLAB, net = again();" in out


def test_released_outputs_become_nifti(call, tmp_path, rng):
    predicted = rng.normal(0, 1, (3, 3, 1, 15)).astype(np.float32)
    path = write_patch_file(tmp_path / "YPred.mat", YPred=predicted, fa=np.ones((3, 3, 1, 15), np.uint8))
    status, out, _ = call("recon", path, "--height", 7, "--width", 5, "-o", tmp_path / "slice.nii.gz")
    assert (status, out) == (0, f"{tmp_path / 'slice.nii.gz'}: 7 x 1 x 5 voxels\n")
    image = nibabel.load(tmp_path / "slice.nii.gz")
    assert image.get_fdata()[1, 0, 2] == pytest.approx(predicted[1, 1, 0, 1])
    np.testing.assert_allclose(image.header.get_zooms(), 0.0625)
    write_analyze(tmp_path / "odd.img", rng.integers(0, 99, (4, 5, 6)).astype(np.uint8), 1.0)
    status, out, _ = call("reorder", tmp_path / "odd.img", "--axes", "1,2,0", "-o", tmp_path / "even.nii")
    assert (status, "5 x 6 x 4 voxels" in out) == (0, True)
    status, _, err = call("recon", path, "--height", 200, "--width", 128, "-o", tmp_path / "slice.nii.gz")
    assert (status, "found 15 patches; give the height and width" in err) == (1, True)


def test_fetch_lists_what_there_is_and_refuses_the_rest(call, tmp_path):
    status, out, _ = call("fetch")
    assert (status, "net-af-30" in out, "osf:fk58t" in out) == (0, True, True)
    status, _, err = call("fetch", "net-af", "-o", tmp_path)
    assert (status, "did you mean net-af-" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import-matlab", "absent.mat"], "absent.mat: expected a MATLAB file, found no such file"),
        (["import-matlab", "text.mat"], "text.mat: expected a MATLAB file of version 5 or 7.3, found a file of another kind"),
        (["import-matlab", "other.mat"], "expected a variable `net`, found the variables ['a']"),
    ],
)
def test_a_wrong_import_is_one_sentence_and_leaves_no_file(bundle_copy, tmp_path, words, message):
    (tmp_path / "text.mat").write_text("no network" * 30)
    scipy.io.savemat(tmp_path / "other.mat", {"a": 1})
    done = mrh(words[0], tmp_path / words[1], "--bundle", bundle_copy)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not list((bundle_copy / "models").glob("*"))
