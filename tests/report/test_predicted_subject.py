import os
import shutil

import numpy as np
import pytest

from helpers.reports import checks_of, predict, read
from helpers.subjects import write_mrh_subject
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report.predicted_subject import find_predictions, read_predicted_subject
from mrh_monai.scaling.robust_scaling import robust_level
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis


def test_a_sound_subject_passes_every_check(results):
    found = checks_of(results)
    assert list(found) == ["Files", "Images", "Grid", "Mask", "Magnetization transfer", "Diffusion", "Signal levels"]
    assert all(good for _, good in found.values())
    assert found["Images"][0] == "67 channels in 3 files, as the protocol has them"
    assert found["Grid"][0] == "16 x 6 x 14 voxels of 0.0625 x 0.0625 x 0.0625 mm, the same in all files"
    assert found["Mask"][0] == f"{14 * 6 * 12:,} voxels"
    assert found["Diffusion"] == ("every weighted image is darker than the unweighted ones", True)
    assert '<td class="bad">' not in read(results)


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
