import numpy as np
import pytest

from helpers.patch_file_writing import write_patch_file
from helpers.subjects import write_nifti
from mrh_monai.contributions.contribution_study import RetrainingOptions, contribution, plan_contribution
from mrh_monai.contributions.image_contribution import NoiseOptions, groups_of_images, perturb_images, single_images
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import CheckpointError, OptionError, SubjectError
from mrh_monai.evaluation.regions import LabelFiles
from mrh_monai.inference.predictor import PredictionOptions, load_bundle
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects import SubjectArrays
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis

IMAGES = ["t2", "mt_off"]
NOISE = NoiseOptions(0.2, draws=2, voxels=60, seed=3)


@pytest.fixture(scope="module")
def predictor(study_bundle):
    return load_bundle(study_bundle, PredictionOptions(device="cpu"))


@pytest.fixture(scope="module")
def result(predictor, study):
    return contribution(predictor, study / "subject04", IMAGES, NOISE)


def test_single_images_and_groups_are_perturbed(result, predictor, study):
    subject = load_subject(find_subject(study / "subject04"), MRH_NET)
    network, sidecar = predictor.network, predictor.sidecar
    for found, perturbed in ((result.images, single_images(MRH_NET, IMAGES)), (result.groups, groups_of_images(MRH_NET))):
        np.testing.assert_array_equal(found.rmse, perturb_images(network, sidecar, subject, perturbed, NOISE).rmse)
    assert result.about == {
        "bundle": "mrh_af", "weights": sidecar.sha256, "stain": "af", "units": "8-bit af", "subject": "subject04",
        "noise": 0.2, "draws": 2, "voxels": 60,
    }  # fmt: skip
    assert result.retrained == []


def test_a_folder_a_subject_and_arrays_give_the_same_numbers(result, predictor, study_bundle, study):
    files = find_subject(study / "subject04")
    loaded = load_subject(files, MRH_NET)
    arrays = SubjectArrays(np.array(loaded.image), loaded.mask, loaded.affine, name="mouse 4")
    for bundle, subject in ((study_bundle, files), (str(study_bundle), str(study / "subject04")), (predictor, arrays)):
        np.testing.assert_array_equal(contribution(bundle, subject, IMAGES, NOISE).images.rmse, result.images.rmse)
    assert contribution(predictor, arrays, IMAGES, NOISE).about["subject"] == "mouse 4"


def test_regions_are_read_from_a_label_volume(predictor, study, tmp_path):
    labels = np.ones((16, 6, 14), np.int16)
    labels[8:] = 2
    path = write_nifti(tmp_path / "labels.nii", labels, np.diag([0.0625, 0.0625, 0.0625, 1]))
    (tmp_path / "names.txt").write_text("1,left\n2,right\n")
    found = contribution(predictor, study / "subject04", ["t2"], NOISE, LabelFiles(path, tmp_path / "names.txt"))
    assert list(found.images.regions) == ["left", "right"]
    assert sum(voxels for voxels, _ in found.groups.regions.values()) == 60


def test_networks_are_trained_again_on_the_best_images(predictor, study):
    options = RetrainingOptions([1], study / "datalist.json", steps=2, patches=64)
    found = contribution(predictor, study / "subject04", IMAGES, NOISE, retraining=options)
    assert [row["images"] for row in found.retrained] == [1, 67]
    assert set(found.retrained[0]) == {"images", "r2", "rmse", "auc", "minutes", "minutes_saved"}


def test_everything_is_checked_before_anything_is_computed(predictor, bundle_copy, study, tmp_path):
    subject = study / "subject04"
    with pytest.raises(OptionError, match="images: expected names of the protocol's images, found 'mt_one'"):
        plan_contribution(predictor, subject, ["mt_one"])
    with pytest.raises(OptionError, match="retrain_top: expected numbers from 1 to 2, the number of images, found 3"):
        plan_contribution(predictor, subject, IMAGES, retraining=RetrainingOptions([3], study / "datalist.json"))
    with pytest.raises(CheckpointError, match="model.pt: expected trained weights"):
        plan_contribution(bundle_copy, subject)
    patches = write_patch_file(tmp_path / "patches.mat", data=np.ones((3, 3, 67, 4), np.float32))
    with pytest.raises(SubjectError, match="patches.mat: expected volumes to add noise to, found a patch file"):
        plan_contribution(predictor, patches)
