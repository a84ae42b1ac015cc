import json
import shutil

import numpy as np
import pytest
import torch

from helpers.displaced_study import AF, write_displaced_study
from mrh_monai.errors import DatalistError, MRHWarning, SubjectError
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.patch_geometry import CORONAL_PATCH, PatchGeometry
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.training import training_data
from mrh_monai.training.training_data import AlignmentOptions, SamplingOptions, TrainingData


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


@pytest.fixture(scope="module")
def displaced(tmp_path_factory):
    """The datalist of a study whose training stains are displaced."""
    return write_displaced_study(tmp_path_factory.mktemp("displaced"))


def sampling(mode, resume_from=None, patches=500):
    return SamplingOptions(patches=patches, validation_patches=100, alignment=AlignmentOptions(mode, seed=2, resume_from=resume_from))


@pytest.mark.training
def test_patches_are_drawn_from_aligned_stains(displaced, tmp_path, monkeypatch):
    plain, data = (TrainingData(displaced, MRH_NET, sampling(mode)) for mode in ("off", "auto"))
    assert plain.alignment is None
    assert data.alignment.is_moved
    assert data.digest != plain.digest
    assert data.recorded["alignment"] == data.alignment.summary
    batches = [each.train.batch(torch.arange(500)) for each in (plain, data)]
    torch.testing.assert_close(batches[0]["image"], batches[1]["image"], rtol=0, atol=0)
    # The centre of each patch has the moved stain of its voxel, scaled.
    moved = np.concatenate([subject.target[subject.mask] for subject in data.alignment.subjects])
    labels = batches[1]["label"][:, 0, 1, 1].numpy()
    scaled = (moved - data.scaling.target_min) / (data.scaling.target_max - data.scaling.target_min)
    assert np.isin(labels.round(4), scaled.round(4)).mean() > 0.99
    assert np.abs(labels - batches[0]["label"][:, 0, 1, 1].numpy()).mean() > 0.03
    # Validation subjects are left as they are.
    one, other = (each.validation.batch(torch.arange(100))["label"] for each in (plain, data))
    torch.testing.assert_close(one, other, rtol=0, atol=0)

    # What was written is what a resumed run takes, without a search.
    data.write_alignment(tmp_path)
    assert {path.name for path in (tmp_path / "alignment").glob("*.nii.gz")} == {"subject01.nii.gz", "subject02.nii.gz"}
    monkeypatch.setattr(training_data, "align_stains", None)
    assert TrainingData(displaced, MRH_NET, sampling("auto", tmp_path / "alignment")).digest == data.digest
    plain.write_alignment(tmp_path)
    assert not list((tmp_path / "alignment").glob("[!.]*"))


@pytest.mark.training
def test_another_process_takes_the_displacements_of_the_first_one(displaced, monkeypatch):
    first = TrainingData(displaced, MRH_NET, sampling("on"))
    alignment = first.alignment
    monkeypatch.setattr(training_data, "align_stains", None)
    monkeypatch.setattr(training_data, "is_first_process", lambda: False)
    monkeypatch.setattr(training_data, "decide_on_first_process", lambda _: (alignment.control, alignment.trial, alignment.is_moved))
    assert TrainingData(displaced, MRH_NET, sampling("on")).digest == first.digest


@pytest.mark.training
def test_a_resumed_run_on_other_data_aligns_anew(displaced, tmp_path):
    """Although the names and shapes of the subjects are the same."""
    data = TrainingData(displaced, MRH_NET, sampling("on"))
    data.write_alignment(tmp_path)
    some = TrainingData(displaced, MRH_NET, sampling("on", tmp_path / "alignment"), slices=((1, 6),))
    for one, other in zip(some.alignment.control, data.alignment.control, strict=True):
        assert not np.array_equal(one, other)


@pytest.mark.training
def test_patches_of_three_dimensions_have_aligned_stains_too(displaced):
    """The alignment does not depend on the patches, and all 27 voxels of a patch have moved stains."""
    found = {}
    for patch in (CORONAL_PATCH, PatchGeometry((0, 1, 2), 1)):
        data = TrainingData(displaced, MRH_NET, sampling("auto", patches=300), patch=patch)
        found[patch] = data.alignment
    one, other = found.values()
    for displacement, same in zip(one.displacements, other.displacements, strict=True):
        np.testing.assert_array_equal(displacement, same)
    assert data.train.batch(torch.arange(300))["label"].shape == (300, 1, 3, 3, 3)
    labels = data.train.batch(torch.arange(300))["label"]
    plain = TrainingData(displaced, MRH_NET, sampling("off", patches=300), patch=PatchGeometry((0, 1, 2), 1))
    difference = (labels - plain.train.batch(torch.arange(300))["label"]).abs().nanmean(dim=0)[0]
    assert float(difference.min()) > 0.02


def test_brains_too_small_to_align_stay_as_they_are_unless_alignment_is_asked_for(study, caplog):
    caplog.set_level("INFO")
    plain, data = (TrainingData(study / "datalist.json", MRH_NET, sampling(mode, patches=50), slices=((2, 3),)) for mode in ("off", "auto"))
    assert data.alignment is None
    assert data.digest == plain.digest
    assert "the training stains stay where they are: subject01: expected at least 50 voxels inside blocks" in caplog.text
    assert data.recorded["alignment"].startswith("the training stains stay where they are: subject01")
    assert plain.recorded["alignment"] is None
    with pytest.raises(SubjectError, match="subject01: expected at least 50 voxels inside blocks of 0.5 mm"):
        TrainingData(study / "datalist.json", MRH_NET, sampling("on"), slices=((2, 3),))


@pytest.mark.training
def test_an_alignment_that_is_not_to_be_trusted_is_reported(displaced, tmp_path):
    """The stains lie upside down: no displacement brings them to their images."""
    folder = shutil.copytree(displaced.parent, tmp_path / "study")
    for path in folder.glob(f"*/{AF}"):
        header = read_header(path)
        write_analyze(path, np.ascontiguousarray(read_voxels(header)[:, :, ::-1, 0]), header.spacing[0])
    upside_down = folder / displaced.name
    assert not TrainingData(upside_down, MRH_NET, sampling("auto")).alignment.is_moved
    with pytest.warns(MRHWarning) as caught:
        assert TrainingData(upside_down, MRH_NET, sampling("on")).alignment.is_moved
    assert str(caught[0].message).startswith("the alignment of the training stains may be wrong: on voxels that were held out, the")
