"""One call predicts whatever stands for a subject, to the same bits."""

import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest

import mrh_monai
from helpers.paths import BUNDLE
from helpers.random_weights import calibration_of, with_random_weights
from helpers.subjects import write_mrh_subject, write_nifti
from helpers.voxel_loop import oracle
from mrh_monai.data import ReadingOptions, load_subject, load_subjects
from mrh_monai.errors import CheckpointError, MRHWarning, OptionError, SubjectError
from mrh_monai.inference.predictor import PredictionOptions, Predictor, load_bundle, predict
from mrh_monai.inference.provenance import NO_HEAD, NOT_WRITTEN
from mrh_monai.network import Calibration
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import PublishedScaling
from mrh_monai.subjects import Layout, Subject, SubjectArrays, find_subject

CPU = PredictionOptions(device="cpu")


@pytest.fixture(scope="module")
def predictor(study_bundle):
    return load_bundle(study_bundle, CPU)


def voxels_of(subject):
    """Image (X, Y, Z, 67), mask and affine of a subject's files, read without the package."""
    images = [nibabel.load(path) for path in subject.image]
    mask = np.asarray(nibabel.load(subject.mask).dataobj).reshape(images[0].shape[:3])
    return np.concatenate([np.asarray(image.dataobj) for image in images], axis=3), mask, images[0].affine


def same(one, other):
    np.testing.assert_array_equal(one.stain.view(np.int32), other.stain.view(np.int32))
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert one.stain.any()


def test_a_prediction_equals_the_loop_over_voxels(predictor, study):
    subject = find_subject(study / "subject04")
    found = predictor.predict(study / "subject04", slices=((1, 3),))
    loaded = load_subject(replace(subject, slices=((1, 3),)), MRH_NET)
    coefficients = predictor.sidecar.scaling.coefficients(loaded, loaded.mask)
    expected = oracle(loaded.image, loaded.mask, *coefficients, predictor.network) * predictor.sidecar.scaling.target_max
    assert found.stain.dtype == np.float32
    np.testing.assert_allclose(found.stain, expected, atol=1e-3)
    np.testing.assert_array_equal(found.mask, loaded.mask)
    np.testing.assert_array_equal(found.affine, loaded.affine)
    assert not found.stain[~found.mask].any()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("slices", [None, ((1, 2), (4, 6))])
def test_arrays_are_predicted_as_the_files_they_came_from(study_bundle, predictor, tmp_path, dtype, slices):
    folder = write_mrh_subject(tmp_path / "mouse", seed=8, dtype=dtype)
    image, mask, affine = voxels_of(find_subject(folder))
    assert image.dtype == dtype
    files = predictor.predict(folder, slices=slices)
    same(predict(study_bundle, image, mask=mask, affine=affine, slices=slices, options=CPU), files)
    same(predictor.predict(image, mask=mask.astype(bool), affine=affine, slices=slices), files)
    same(predictor.predict(SubjectArrays(image, mask, affine, slices=slices)), files)
    same(predictor.predict(np.asfortranarray(image).astype(image.dtype.newbyteorder(">")), mask=mask, affine=affine, slices=slices), files)


def test_every_way_to_name_a_subject_gives_the_same_stain(predictor, study, tmp_path):
    subject = find_subject(study / "subject02")
    whole = predictor.predict(subject)
    same(predictor.predict(str(study / "subject02")), whole)
    manifest = tmp_path / "m1.mrh.json"
    manifest.write_text(json.dumps({"image": [str(path) for path in subject.image], "mask": str(subject.mask)}))
    same(predictor.predict(manifest), whole)
    image, mask, affine = voxels_of(subject)
    write_nifti(tmp_path / "m2.nii.gz", image, affine)
    write_nifti(tmp_path / "m2_mask.nii.gz", mask, affine)
    same(predictor.predict(tmp_path / "m2.nii.gz"), whole)
    for number, path in enumerate(subject.image):
        write_nifti(tmp_path / "other" / f"scan{number}.nii", np.asarray(nibabel.load(path).dataobj), affine)
    write_nifti(tmp_path / "other" / "brain.nii", mask, affine)
    layout = Layout(tuple(f"scan{number}.*" for number in range(3)), "brain.*")
    same(predictor.predict(tmp_path / "other", layout=layout), whole)


def test_slices_of_subject_and_call_are_intersected(predictor, study):
    subject = replace(find_subject(study / "subject02"), slices=((0, 3),))
    found = predictor.predict(subject, slices=((2, 6),))
    assert found.mask.any(axis=(0, 2)).tolist() == [False, False, True, False, False, False]
    assert found.record["slices"] == [[2, 3]]
    with pytest.raises(OptionError, match="slices: expected slices of subject02 among"):
        predictor.predict(subject, slices=((4, 6),))


def test_a_bundle_that_is_loaded_once_predicts_many(study_bundle, predictor, study):
    for name in ("subject01", "subject03"):
        same(predictor.predict(study / name), mrh_monai.predict(study_bundle, study / name, options=CPU))


def test_records_name_bundle_options_and_files(predictor, study):
    subject = find_subject(study / "subject01")
    record = predictor.predict(subject).record
    weights, sidecar = (record["made_by"][key] for key in ("weights", "sidecar"))
    assert record["made_by"] == {"weights": weights, "sidecar": sidecar, "precision": "float32", "nan": "None", "support": "mask"}
    assert weights == predictor.sidecar.sha256
    assert {str(path.resolve()) for path in (*subject.image, subject.mask, subject.fa)} < set(record["inputs"])
    assert (record["about"]["stain"], record["about"]["subject"], record["about"]["channels"]) == ("af", "subject01", MRH_NET.to_rows())
    image, mask, affine = voxels_of(subject)
    of_arrays = predictor.predict(image, mask=mask, affine=affine).record
    assert (of_arrays["inputs"], of_arrays["made_by"]) == ({}, record["made_by"])


def test_fa_as_support_and_zeros_for_nan(study_bundle, tmp_path):
    folder = write_mrh_subject(tmp_path / "mouse", seed=8, dtype=np.float32)
    image, mask, affine = voxels_of(find_subject(folder))
    image[5, 2, 5, 3] = np.nan
    with pytest.raises(SubjectError, match=r"subject, image: expected numbers inside the mask in channel dwi2000_dir_02, found 1 NaN"):
        predict(study_bundle, image, mask=mask, affine=affine, options=CPU)
    with pytest.warns(MRHWarning, match="subject, image: 1 NaN or Inf inside the mask"):
        zeroed = predict(study_bundle, image, mask=mask, affine=affine, options=replace(CPU, nan="zero"))
    same(zeroed, predict(study_bundle, np.nan_to_num(image), mask=mask, affine=affine, options=CPU))
    by_fa = predict(study_bundle, folder, options=replace(CPU, support="fa"))
    np.testing.assert_array_equal(by_fa.mask, load_subject(find_subject(folder), MRH_NET, ReadingOptions(support="fa")).mask)
    assert by_fa.record["made_by"]["support"] == "fa"


def test_the_batch_size_changes_no_more_than_the_last_bits(study_bundle, predictor, study):
    small = predict(study_bundle, study / "subject01", options=replace(CPU, batch_size=37))
    np.testing.assert_allclose(small.stain, predictor.predict(study / "subject01").stain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device: expected auto, cpu, cuda or cuda:N, found 'gpu'"),
        ({"precision": "fp16"}, "precision: expected float32, tf32, bf16, auto, found 'fp16'"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, found 0"),
        ({"batch_size": "a"}, "batch_size: expected a whole number of at least 1, found 'a'"),
        ({"nan": "skip"}, "nan: expected refuse or zero, found 'skip'"),
        ({"support": "skull"}, "support: expected mask or fa, found 'skull'"),
    ],
)
def test_impossible_options_are_refused_before_any_subject(study_bundle, options, message):
    with pytest.raises(OptionError, match=message):
        load_bundle(study_bundle, replace(CPU, **options))


def test_folders_that_are_no_trained_bundle_are_refused(bundle_copy, study, tmp_path):
    with pytest.raises(OptionError, match="study.*: expected a bundle folder, found a folder without configs/metadata.json"):
        load_bundle(study)
    with pytest.raises(OptionError, match="absent: expected a bundle folder, found no such folder"):
        predict(tmp_path / "absent", study / "subject01")
    with pytest.raises(CheckpointError, match=r"model\.pt: expected trained weights, found no such file; train the bundle first"):
        load_bundle(bundle_copy)


def test_weights_of_other_channels_are_refused(study_bundle, tmp_path):
    bundle = shutil.copytree(study_bundle, tmp_path / "mrh_af")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    metadata["channels"][3]["name"] = "another"
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"model\.pt: expected another as channel 3, found dwi2000_dir_02"):
        load_bundle(bundle)


IMAGE, MASK = np.ones((4, 3, 4, 67)), np.ones((4, 3, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": MASK[:2]}, r"subject: expected an image \(X, Y, Z, C\), a mask \(X, Y, Z\) and an affine \(4, 4\), found image"),
        ({"affine": np.eye(3)}, r"affine \(3, 3\); put the channels last"),
        ({"subject": IMAGE[..., :66]}, r"subject: expected 67 channels \(dwi2000_b0_01 to mt_off\), found 66"),
        ({"mask": MASK * 2}, "subject, mask: expected a mask of 0 and 1, found the values 2"),
        ({"slices": ((2, 5),)}, r"subject: expected slices within 0 and 3 \(stop excluded\) along array axis 1, .*, found \[2, 5\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_sentence(predictor, change, message):
    with pytest.raises(SubjectError, match=message):
        predictor.predict(**{"subject": IMAGE, "mask": MASK, "affine": np.eye(4), **change})


def nifti_subject(folder, subject, codes, units="mm"):
    """The files of a subject as NIfTI: the matrices differ, and the images are in mm or in um, the mask in mm."""
    moved = np.diag([-0.0625, 0.0625, 0.0625, 1]) + np.array([[0, 0, 0, 3], [0, 0, 0, -2], [0, 0, 0, 1], [0, 0, 0, 0]])
    files = []
    for index, path in enumerate((*subject.image, subject.mask)):
        factor = 1000 if units == "micron" and path != subject.mask else 1
        image = nibabel.Nifti1Image(np.asarray(nibabel.load(path).dataobj), None)
        image.header.set_zooms((0.0625 * factor,) * 3 + (1,) * (len(image.shape) - 3))
        image.header.set_qform(np.diag([factor, factor, factor, 1]) @ np.diag([0.0625, 0.0625, 0.0625, 1]), codes[0])
        image.header.set_sform(np.diag([factor, factor, factor, 1]) @ moved, codes[1])
        image.header.set_xyzt_units("micron" if factor == 1000 else "mm")
        files.append(folder / f"{index}.nii")
        nibabel.save(image, files[-1])
    return Subject("m1", tuple(files[:-1]), files[-1], coronal_axis=1)  # codes of 0 do not say it


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("units", ["mm", "micron"])
def test_a_stain_lies_where_its_scan_lies(study_bundle, study, tmp_path, codes, units):
    original = find_subject(study / "subject04")
    subject = nifti_subject(tmp_path, original, codes, units)
    predictor = load_bundle(study_bundle, CPU)
    prediction = predictor.predict(subject)
    np.testing.assert_array_equal(prediction.stain, predictor.predict(original).stain)
    found = nibabel.load(prediction.save(tmp_path / "stain.nii.gz"))
    in_mm = nibabel.load(subject.mask)  # it has the same matrices, in mm
    assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == codes
    for one, other in ((found.affine, in_mm.affine), (found.get_qform(), in_mm.get_qform()), (found.get_sform(), in_mm.get_sform())):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_channels_in_a_wrong_order_are_said_at_once(predictor, study):
    subject = find_subject(study / "subject04")
    image, mask, affine = voxels_of(subject)
    order = np.random.default_rng(1).permutation(image.shape[3])
    message = r"subject: \w+ is furthest from the training subjects, by [+-]\d.* check the order of the channels"
    with pytest.warns(MRHWarning, match=message), pytest.warns(MRHWarning, match="subject: diffusion weighting should darken"):
        predictor.predict(image[..., order], mask=mask, affine=affine)


@pytest.mark.parametrize("is_known", [True, False])
def test_published_scaling_says_it_too(study, predictor, is_known):
    """From the signals of its training, and of an imported network, of which these are not known, by physics."""
    subject = find_subject(study / "subject04")
    image, mask, affine = voxels_of(subject)
    training = load_subjects([find_subject(study / f"subject0{n}", target="targets/AF.img") for n in (1, 2)], MRH_NET)
    scaling = PublishedScaling.fit(training) if is_known else PublishedScaling(250.0)
    other = Predictor(predictor.network, replace(predictor.sidecar, scaling=scaling), MRH_NET, {}, CPU)
    other.predict(image, mask=mask, affine=affine)  # in the right order: no warning
    for order in ([*range(32, 64), *range(32), 64, 65, 66], range(66, -1, -1)):
        with pytest.warns(MRHWarning) as warned:
            other.predict(image[..., list(order)], mask=mask, affine=affine)
        texts = [str(each.message) for each in warned]
        assert any("diffusion weighting should darken, and more so with a higher b-value" in text for text in texts)
        assert any("furthest from the training subjects" in text for text in texts) == is_known


@pytest.mark.parametrize("multipliers", [None, (), (1.0, 2.0)])
def test_the_record_says_what_became_of_intervals(study, tmp_path, multipliers):
    bundle = with_random_weights(BUNDLE, tmp_path, multipliers=multipliers)
    texts = {NO_HEAD: None, Calibration().held: (), calibration_of(1.0, 2.0).held: (1.0, 2.0)}
    for intervals in (True, False):
        found = load_bundle(bundle, replace(CPU, intervals=intervals)).predict(study / "subject04")
        assert (found.bounds is not None) == ("intervals" in found.record["made_by"]) == (intervals and bool(multipliers))
        expected = next(text for text, each in texts.items() if each == multipliers) if intervals or not multipliers else NOT_WRITTEN
        assert found.record["about"]["intervals"] == expected
        assert "gives_intervals" not in found.record["about"]
        if found.bounds is None:
            assert found.about_intervals == f"without intervals: {expected}"
            with pytest.raises(ValueError, match="without intervals"):
                _ = found.mean_width
        else:
            width = (found.bounds.upper - found.bounds.lower)[found.mask].mean(dtype=float)
            assert found.about_intervals == f"with intervals, {width:.3g} wide on average: {expected}"
