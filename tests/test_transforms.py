import numpy as np
import pytest
import torch
from monai.data import decollate_batch, list_data_collate

from mrh_monai.errors import SubjectError
from mrh_monai.loading import load_subject
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import Scaling
from mrh_monai.subjects import find_subject
from mrh_monai.transforms import InverseTargetScaled, LoadSubjectd, SaveStaind, SubjectCoefficientsd, one_subject
from mrh_monai.volumes import read_header, read_voxels

SCALING = Scaling("robust", (1.0,) * 67, (0.5,) * 67, 250.0, (1.0,) * 67, 99.0)


def test_subject_becomes_a_channel_first_dict(study):
    subject = find_subject(study / "subject01", target="targets/AF.img")
    data = LoadSubjectd(MRH_NET, need_target=True)(subject)
    loaded = load_subject(subject, MRH_NET, need_target=True)
    assert (data["subject"], data["image"].dtype, data["mask"].dtype, data["label"].dtype) == (
        "subject01",
        torch.int16,
        torch.uint8,
        torch.float32,
    )
    np.testing.assert_array_equal(data["image"].numpy(), loaded.image.transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(data["mask"][0].numpy() == 1, loaded.mask)
    np.testing.assert_array_equal(data["label"][0].numpy(), loaded.target)
    np.testing.assert_array_equal(data["image"].affine, loaded.affine)
    scaled = SubjectCoefficientsd(SCALING)(data)
    for found, expected in zip((scaled["gain"], scaled["offset"]), SCALING.coefficients(loaded.image, loaded.mask), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_target_is_loaded_only_where_needed(study):
    assert "label" not in LoadSubjectd(MRH_NET)(find_subject(study / "subject01", target="targets/AF.img"))
    subject = find_subject(study / "subject01")
    with pytest.raises(SubjectError, match="expected a target"):
        LoadSubjectd(MRH_NET, need_target=True)(subject)


def test_prediction_is_written_in_the_stains_units(study, tmp_path):
    data = LoadSubjectd(MRH_NET)(find_subject(study / "subject01"))
    data["pred"] = torch.full(data["mask"].shape, 0.5)
    SaveStaind("pred", tmp_path, "af")(InverseTargetScaled("pred", SCALING)(data))
    header = read_header(tmp_path / "subject01" / "subject01_af.nii.gz")
    assert header.dtype == np.float32
    assert (read_voxels(header) == 125).all()
    np.testing.assert_allclose(header.affine, data["image"].affine, atol=1e-6)


def test_one_subject_is_collated_as_monai_does_without_a_copy(study):
    data = SubjectCoefficientsd(SCALING)(LoadSubjectd(MRH_NET)(find_subject(study / "subject01")))
    ours, theirs = one_subject([data]), list_data_collate([data])
    assert set(ours) == set(theirs)
    assert ours["subject"] == theirs["subject"] == ["subject01"]
    for key in ("image", "mask", "gain", "offset"):
        assert torch.equal(ours[key], theirs[key])
    assert ours["image"].data_ptr() == data["image"].data_ptr()
    for batch in (ours, theirs):
        (item,) = decollate_batch(batch)
        assert item["subject"] == "subject01"
        assert torch.equal(item["image"], data["image"])
        np.testing.assert_array_equal(item["image"].affine, data["image"].affine)


def test_published_scaling_confines_the_mask_to_its_support(study):
    data = LoadSubjectd(MRH_NET)(find_subject(study / "subject01"))
    data["mask"][:] = 1
    scaled = SubjectCoefficientsd(Scaling("published", (), (), 1.0))(data)
    assert scaled["mask"].sum() == 14 * 6 * 12
    largest = data["image"][:, 1:-1, :, 1:-1].max()
    assert scaled["gain"][0] == pytest.approx(1 / float(largest))
    assert data["mask"].min() == 1  # the input stays as it was
