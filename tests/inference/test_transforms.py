import numpy as np
import pytest
import torch

from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import SubjectError
from mrh_monai.inference.cohort import CohortOutput
from mrh_monai.inference.transforms import InverseTargetScaled, OpenSubjectd, SaveStaind, only_item, prepare_subject
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import PublishedScaling, RobustScaling
from mrh_monai.subjects.subject_search import find_subject

SCALING = RobustScaling(250.0, (1.0,) * 67, (0.5,) * 67, (1.0,) * 67, 99.0)

# The constants of the scaling are made up, so that the signals of the subjects are unlike them.


def test_subject_becomes_a_dict_of_slabs_and_channel_first_volumes(study):
    subject = find_subject(study / "subject01", target="targets/AF.img")
    data = OpenSubjectd(MRH_NET, SCALING, need_target=True)(subject)
    loaded = load_subject(subject, MRH_NET, ReadingOptions(need_target=True))
    assert (data["subject"], data["mask"].dtype, data["label"].dtype) == ("subject01", torch.uint8, torch.float32)
    np.testing.assert_array_equal(data["image"].slab(0, 6), loaded.slabs.slab(0, 6))
    np.testing.assert_array_equal(data["mask"][0].numpy() == 1, loaded.mask)
    np.testing.assert_array_equal(data["label"][0].numpy(), loaded.target)
    np.testing.assert_array_equal(data["scored"][0].numpy() == 1, loaded.scored)
    np.testing.assert_array_equal(data["mask"].affine, loaded.affine)
    for found, expected in zip((data["gain"], data["offset"]), SCALING.coefficients(loaded, loaded.mask), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_target_is_loaded_only_where_needed(study):
    assert "label" not in OpenSubjectd(MRH_NET, SCALING)(find_subject(study / "subject01", target="targets/AF.img"))
    subject = find_subject(study / "subject01")
    with pytest.raises(SubjectError, match="expected a target"):
        OpenSubjectd(MRH_NET, SCALING, need_target=True)(subject)


def test_prediction_is_written_in_the_stains_units(study, tmp_path):
    data = OpenSubjectd(MRH_NET, SCALING)(find_subject(study / "subject01"))
    data["pred"] = torch.full(data["mask"].shape, 0.5)
    SaveStaind("pred", tmp_path, "af", {"weights": "0"})(InverseTargetScaled("pred", SCALING)(data))
    header = read_header(tmp_path / "subject01" / "subject01_af.nii.gz")
    assert header.dtype == np.float32
    assert (read_voxels(header)[..., 0] == np.where(data["mask"][0].numpy() > 0, 125, 0)).all()
    np.testing.assert_allclose(header.affine, data["mask"].affine, atol=1e-6)
    assert not CohortOutput(tmp_path, "af", {"weights": "0"}).unfinished([find_subject(study / "subject01")])


def test_a_batch_is_one_subject_as_the_inferer_wants_it(study):
    data = OpenSubjectd(MRH_NET, SCALING)(find_subject(study / "subject01"))
    assert only_item([data]) is data
    image, label, args, inputs = prepare_subject(data, torch.device("cpu"))
    assert (image, label, args) == (data["image"], None, ())
    assert {key: id(value) for key, value in inputs.items()} == {key: id(data[key]) for key in ("mask", "gain", "offset")}


def test_published_scaling_confines_the_mask_to_its_support(study):
    subject = find_subject(study / "subject01")
    data = OpenSubjectd(MRH_NET, PublishedScaling(1.0), patch=PatchGeometry((0, 1)))(subject)
    loaded = load_subject(subject, MRH_NET)
    expected = loaded.mask.copy()
    expected[:, [0, -1]] = False
    np.testing.assert_array_equal(data["mask"][0].numpy() == 1, expected)
    assert data["gain"][0] == pytest.approx(1 / float(loaded.image[expected].max()))
