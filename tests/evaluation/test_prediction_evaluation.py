import numpy as np
import pytest
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score

from helpers.subjects import write_nifti
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.evaluation.prediction_evaluation import evaluate
from mrh_monai.evaluation.scores import score
from mrh_monai.inference.prediction import Prediction
from mrh_monai.io import read_header


@pytest.fixture
def volumes(rng):
    """Prediction, target and mask of one subject."""
    target = rng.uniform(0, 255, (16, 3, 14)).astype(np.float32)
    noise = rng.normal(0, 30, target.shape).astype(np.float32)
    return target + noise, target, (rng.random(target.shape) > 0.3).astype(np.uint8)


@pytest.fixture
def files(volumes, tmp_path):
    return [write_nifti(tmp_path / f"{name}.nii.gz", voxels) for name, voxels in zip(("stain", "target", "mask"), volumes, strict=True)]


def test_scores_auc_and_threshold_are_of_the_voxels_in_the_mask(volumes):
    prediction, target, mask = volumes
    found = evaluate(*volumes)
    inside = mask > 0
    threshold = threshold_otsu(target[inside])
    assert list(found)[-3:] == ["voxels", "auc", "threshold"]
    assert {key: found[key] for key in list(found)[:-2]} == score(prediction, target, inside)
    assert found["threshold"] == pytest.approx(threshold)
    assert found["auc"] == pytest.approx(roc_auc_score(target[inside] > threshold, prediction[inside]))
    assert evaluate(*volumes, threshold=200)["threshold"] == 200


def test_files_arrays_and_a_prediction_give_the_same_numbers(volumes, files):
    prediction = Prediction(volumes[0], read_header(files[0]).affine, volumes[2] > 0, {"made_by": {}})
    expected = evaluate(*volumes)
    assert evaluate(*files) == evaluate(*map(str, files)) == expected
    assert evaluate(prediction, files[1], volumes[2] > 0) == evaluate(prediction, *volumes[1:]) == expected


def test_volumes_of_other_shapes_and_grids_are_refused(volumes, files, tmp_path):
    prediction, target, mask = volumes
    with pytest.raises(SubjectError, match=r"evaluate: expected .* of one shape .*, found prediction \(15, 3, 14\)"):
        evaluate(prediction[1:], target, mask)
    with pytest.raises(SubjectError, match="of one shape"):
        evaluate(prediction[..., None], target[..., None], mask[..., None])
    moved = write_nifti(tmp_path / "moved.nii.gz", target, np.diag([0.2, 0.1, 0.1, 1]))
    with pytest.raises(SubjectError, match="moved.nii.gz: expected voxels of"):
        evaluate(files[0], moved, mask)
    with pytest.raises(SubjectError, match="pair.nii.gz: expected one 3D volume as stain or mask, found 2 volumes"):
        evaluate(write_nifti(tmp_path / "pair.nii.gz", np.stack([prediction, prediction], -1)), target, mask)


def test_masks_and_stains_that_cannot_be_judged_are_refused(volumes, files):
    prediction, target, mask = volumes
    with pytest.raises(SubjectError, match="mask: expected a mask of 0 and 1"):
        evaluate(prediction, target, mask + np.arange(3)[:, None])
    broken = np.where(mask > 0, np.nan, prediction)
    with pytest.raises(SubjectError, match="prediction: expected numbers inside the mask"):
        evaluate(broken, target, mask)
    with pytest.raises(SubjectError, match="target: expected a stain inside the mask, found 7 everywhere"):
        evaluate(prediction, np.full_like(target, 7), mask)
    with pytest.raises(SubjectError, match="mask.nii.gz: expected a stain inside the mask, found 1 everywhere"):
        evaluate(prediction, files[2], mask)
    with pytest.raises(OptionError, match="^threshold: expected a threshold within the target's"):
        evaluate(*volumes, threshold=999)
    for threshold in ("a", float("nan")):
        with pytest.raises(OptionError, match="threshold: expected a number in the stain's units, found"):
            evaluate(*volumes, threshold=threshold)


def test_a_prediction_lies_where_its_affine_says(volumes, files):
    moved = Prediction(volumes[0], np.diag([-0.1, 0.1, 0.1, 1]), volumes[2] > 0, {"made_by": {}})
    with pytest.raises(SubjectError, match="prediction|target.nii.gz: expected the affine of"):
        evaluate(moved, files[1], files[2])


@pytest.mark.parametrize("wrong", [None, 5, "text", np.zeros((16, 3, 14), complex), [[1, 2], [3]]])
def test_what_is_no_volume_is_refused(volumes, wrong):
    with pytest.raises(SubjectError):
        evaluate(wrong, *volumes[1:])
