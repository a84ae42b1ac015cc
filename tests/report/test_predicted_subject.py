import os
import shutil

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from helpers.reports import checks_of, predict, read
from helpers.subjects import write_mrh_subject
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.inference.prediction_record import bound_paths, write_record
from mrh_monai.inference.provenance import NO_HEAD
from mrh_monai.io.nibabel_files import write_analyze, write_nifti
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report.predicted_subject import find_predictions, read_predicted_subject
from mrh_monai.scaling.robust_scaling import robust_level
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis


def test_a_sound_subject_passes_every_check(results):
    found = checks_of(results)
    names = ["Files", "Images", "Grid", "Mask", "Magnetization transfer", "Diffusion", "Signal levels", "Intervals"]
    assert list(found) == names
    assert found["Intervals"][0] == NO_HEAD
    assert all(good for _, good in found.values())
    assert found["Images"][0] == "67 channels in 3 files, as the protocol has them"
    assert found["Grid"][0] == "16 x 6 x 14 voxels of 0.0625 x 0.0625 x 0.0625 mm, the same in all files"
    assert found["Mask"][0] == f"{14 * 6 * 12:,} voxels"
    assert found["Diffusion"] == ("every weighted image is darker than the unweighted ones", True)
    assert '<td class="bad">' not in read(results)


def test_intervals_are_shown_and_judged(results, files, about):
    (prediction,) = find_predictions(results)
    header = read_header(prediction.path)
    stain, mask = read_voxels(header)[..., 0], read_voxels(read_header(files.mask))[..., 0] > 0
    reach = np.where(mask, np.float32(30), np.float32(0))
    for path, bound in zip(bound_paths(prediction.path).values(), (stain - reach, stain + reach), strict=True):
        write_nifti(path, bound, header.affine)
    assert "True stain" not in checks_of(results)  # nothing says that they belong to the prediction
    write_record(prediction.path, {**prediction.record, "about": {**prediction.about, "intervals": "held on 3 subjects"}}, bounds=True)
    found, page = checks_of(results), read(results)
    subject = read_predicted_subject(find_predictions(results)[0])
    width = 60 / subject.scaling.target_range
    np.testing.assert_allclose(subject.relative_width, np.where(mask, 100 * width, 0), rtol=1e-4)
    assert found["Intervals"][0] == f"{100 * width:.3g}% of the stain's range wide on average; held on 3 subjects"
    threshold = threshold_otsu(stain[mask])
    share = (np.abs(stain[mask] - threshold) < 30).mean()
    assert (
        found["Dark or bright"][0]
        == f"in {share:.0%} of the voxels the interval holds both sides of Otsu's threshold, {threshold:.4g} grey values"
    )
    target = read_voxels(read_header(files.target))[..., 0].astype(float)
    assert found["True stain"][0] == f"{(np.abs(target - stain)[mask] <= 30).mean():.0%} of its voxels lie within their interval"
    assert "width of the interval" in page
    bound_paths(prediction.path)["lower"].unlink()
    assert "True stain" not in checks_of(results)


@pytest.fixture
def own(tmp_path):
    """A subject of one's own, which may be changed."""
    write_mrh_subject(tmp_path / "own", seed=8)
    return find_subject(tmp_path / "own", target="targets/AF.img")


def change(own, index, edit):
    """Write one of a subject's image files again."""
    voxels = np.array(read_voxels(read_header(own.image[index])))
    edit(voxels)
    write_analyze(own.image[index], voxels, 0.0625)


def test_a_swapped_magnetization_transfer_pair_is_flagged(own, about, tmp_path):
    def swap(voxels):
        voxels[..., [1, 2]] = voxels[..., [2, 1]]

    change(own, 2, swap)
    predict(tmp_path / "out", own, about)
    words, good = checks_of(tmp_path / "out")["Magnetization transfer"]
    assert (words.startswith("MT on is brighter than MT off: the two look swapped"), good) == (True, False)
    assert f'<td class="bad">{words}</td>' in read(tmp_path / "out")


def test_diffusion_that_brightens_is_flagged(own, about, tmp_path):
    def brighten(voxels):
        voxels[..., 5] *= 3

    change(own, 0, brighten)
    predict(tmp_path / "out", own, about)
    words = "a weighted image is brighter than the unweighted ones"
    assert checks_of(tmp_path / "out")["Diffusion"] == (words, False)
    assert f'<td class="bad">{words}' in read(tmp_path / "out")


def test_signals_unlike_the_training_subjects_are_flagged(own, about, scaling, tmp_path):
    def darken(voxels):
        voxels[..., 5] //= 10

    change(own, 0, darken)
    predict(tmp_path / "out", own, about)
    subject = load_subject(own, MRH_NET)
    mean = subject.image[subject.mask][:, 5].mean() / robust_level(subject.image[subject.mask], 99)
    away = (mean - scaling.channel_mean[5]) / scaling.channel_std[5]
    words, good = checks_of(tmp_path / "out")["Signal levels"]
    assert words.startswith(
        f"{MRH_NET.names[5]} is furthest from the training subjects, by {away:+.2f} standard deviations of their voxels. "
    )
    assert (away < -1, good) == (True, False)


def test_gain_is_no_difference_from_the_training_subjects(own, about, tmp_path):
    for index in range(3):
        change(own, index, lambda voxels: np.floor_divide(voxels, 4, out=voxels))
    predict(tmp_path / "out", own, about)
    assert checks_of(tmp_path / "out")["Signal levels"][1]


def test_changed_files_are_flagged(own, about, tmp_path):
    predict(tmp_path / "out", own, about)
    assert checks_of(tmp_path / "out")["Files"] == ("as they were when the stain was predicted", True)
    os.utime(own.image[1], ns=(1, 1))
    assert checks_of(tmp_path / "out")["Files"] == ("changed since the stain was predicted", False)


def test_missing_files_leave_the_prediction(own, about, tmp_path):
    stain = predict(tmp_path / "out", own, about)
    own.image[1].unlink()
    (words, good) = checks_of(tmp_path / "out")["Files"]
    assert ("rigidaffine_Lddm_dwi5000.img" in words, good) == (True, False)
    found = read_predicted_subject(find_predictions(tmp_path / "out")[0])
    assert (found.image, found.scores) == (None, None)
    np.testing.assert_allclose(found.stain, stain)
    page = read(tmp_path / "out")
    assert "cannot be read as they were" in page
    assert "<h2>Scores</h2>" not in page


def test_images_on_another_grid_are_flagged(own, about, tmp_path):
    predict(tmp_path / "out", own, about)
    shutil.rmtree(tmp_path / "own")
    write_mrh_subject(tmp_path / "own", shape=(16, 7, 14))
    words, good = checks_of(tmp_path / "out")["Files"]
    assert ("expected shape (16, 7, 14) as its images, found (16, 6, 14)" in words, good) == (True, False)
