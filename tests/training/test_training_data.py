import json
import shutil

import numpy as np
import pytest
import torch

from mrh_monai.errors import DatalistError, MRHWarning, SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.training.training_data import SamplingOptions, TrainingData


def test_validation_subjects_validate_with_the_training_sets_constants(study):
    data = TrainingData(study / "datalist.json", MRH_NET, SamplingOptions(patches=300, validation_patches=50, seed=1))
    assert (len(data.train), len(data.validation), data.subjects) == (300, 50, ["subject01", "subject02"])
    assert sum(data.patches_per_subject) == 300
    assert data.train.images.memory.data_ptr() != data.validation.images.memory.data_ptr()
    assert data.validation.target_max == data.train.target_max == data.scaling.target_max


@pytest.fixture
def own(study, tmp_path):
    """A copy of the study whose datalist may be changed."""
    return shutil.copytree(study, tmp_path / "study")


def test_held_out_patches_come_on_top(own):
    content = json.loads((own / "datalist.json").read_text())
    content["validation"], content["test"] = [], []
    path = own / "held_out.json"
    path.write_text(json.dumps(content))
    data = TrainingData(path, MRH_NET, SamplingOptions(patches=300, validation_patches=50))
    assert (len(data.train), len(data.validation)) == (300, 50)
    train, held_out = ({tuple(row) for row in d.image_strips.tolist()} for d in (data.train, data.validation))
    assert not train & held_out


def test_slices_confine_training(study):
    data = TrainingData(study / "datalist.json", MRH_NET, SamplingOptions(patches=None, validation_patches=100), slices=((2, 3),))
    assert len(data.train) == 2 * 14 * 12


def test_a_subjects_level_does_not_depend_on_the_slices_in_use(study):
    sampling = SamplingOptions(patches=50, validation_patches=100)
    whole, some = (TrainingData(study / "datalist.json", MRH_NET, sampling, slices=slices) for slices in (None, ((2, 3),)))
    for part in ("train", "validation"):
        inverse_levels = [getattr(data, part).gain[:, :, 0, 0] * torch.tensor(data.scaling.channel_std) for data in (whole, some)]
        torch.testing.assert_close(*inverse_levels)


def test_a_negative_stain_is_learned_from_0_to_1(own):
    for path in own.glob("*/targets/AF.img"):
        header = read_header(path)
        stain = -3 - read_voxels(header)[..., 0].astype(np.float32) / 100
        mask = read_voxels(read_header(path.parent.parent / "Masked_outline.img"))[..., 0] > 0
        write_analyze(path, np.where(mask, stain, 1000).astype(np.float32), header.spacing[0])
    data = TrainingData(own / "datalist.json", MRH_NET, SamplingOptions(patches=300))
    labels = data.train.batch(torch.arange(300))["label"][:, 0, 1, 1]
    assert (data.scaling.target_min < data.scaling.target_max < 0, data.train.target_min) == (True, data.scaling.target_min)
    assert -0.01 < labels.min() < 0.1 < 0.9 < labels.max() < 1.01
    assert data.train.batch(torch.arange(300))["label"].max() < 1.1  # also outside the brain, where the file has another value


def test_patches_are_by_seed(study):
    one, same, other = (
        TrainingData(study / "datalist.json", MRH_NET, SamplingOptions(patches=50, seed=seed)).train.image_strips for seed in (1, 1, 2)
    )
    assert one.equal(same)
    assert not one.equal(other)


def test_nan_follow_the_scaling_that_is_inherited(own):
    subject = json.loads((own / "datalist.json").read_text())["training"][0]
    header = read_header(own / subject["image"][0])
    voxels = read_voxels(header).astype(np.float32)
    voxels[7, 2, 6, 0] = np.nan
    write_analyze(own / "with_nan.img", voxels, header.spacing[0])
    content = json.loads((own / "datalist.json").read_text())
    content["training"][0]["image"][0] = "with_nan.img"
    (own / "nan.json").write_text(json.dumps(content))
    robust, published = (
        TrainingData(own / "datalist.json", MRH_NET, SamplingOptions(patches=20), scaling=mode).scaling for mode in ("robust", "published")
    )
    for scaling in (robust, "robust"):
        with pytest.raises(SubjectError, match="expected numbers inside the mask in channel dwi2000_b0_01, found 1 NaN or Inf"):
            TrainingData(own / "nan.json", MRH_NET, SamplingOptions(patches=20), scaling=scaling)
    with pytest.warns(MRHWarning, match=r"with_nan\.img: 1 NaN or Inf inside the mask in 1 channel .* were set to 0"):
        data = TrainingData(own / "nan.json", MRH_NET, SamplingOptions(patches=20), scaling=published)
    assert data.scaling == published


@pytest.mark.parametrize(("scaling", "nan"), [("robust", None), ("robust", "zero"), ("published", None), ("published", "zero")])
def test_torn_tissue_is_never_learned_as_0(own, scaling, nan):
    subject = json.loads((own / "datalist.json").read_text())["training"][0]
    header = read_header(own / subject["target"])
    voxels = read_voxels(header)[..., 0].astype(np.float32)
    voxels[:5] = np.nan
    write_analyze(own / subject["target"], voxels, header.spacing[0])
    with pytest.raises(SubjectError, match=r"AF\.img: expected numbers inside the mask, found .* name the intact voxels in a target_mask"):
        TrainingData(own / "datalist.json", MRH_NET, SamplingOptions(patches=20), scaling=scaling, nan=nan)


def test_listing_a_subject_twice_or_without_target_is_refused(own):
    content = json.loads((own / "datalist.json").read_text())
    content["training"] *= 2
    (own / "twice.json").write_text(json.dumps(content))
    with pytest.raises(DatalistError, match="every subject of training under its own name, found subject01 twice"):
        TrainingData(own / "twice.json", MRH_NET)
    del content["training"][0]["target"]
    content["training"] = content["training"][:1]
    (own / "without.json").write_text(json.dumps(content))
    with pytest.raises(SubjectError, match="expected a target"):
        TrainingData(own / "without.json", MRH_NET)


def test_digest_knows_the_data(own):
    digests = [TrainingData(own / "datalist.json", MRH_NET, SamplingOptions(patches=200, validation_patches=50)).digest for _ in range(2)]
    target = own / "subject01" / "targets" / "AF.img"
    target.write_bytes(bytes(255 - value for value in target.read_bytes()))
    assert (
        digests[0] == digests[1] != TrainingData(own / "datalist.json", MRH_NET, SamplingOptions(patches=200, validation_patches=50)).digest
    )


def test_labels_are_scaled_to_1_at_most(study):
    data = TrainingData(study / "datalist.json", MRH_NET, SamplingOptions(patches=None))
    assert float(data.train.batch(np.arange(len(data.train)))["label"].max()) == 1
