"""Coronal slices along any axis of the files: whatever is done with a subject gives the numbers of the subject with axis 1, to the bit."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import yaml

from helpers.subjects import arrays_of, turned, write_nifti
from mrh_monai.axis_order import affine_in_order, coronal_order, in_order, inverse_order
from mrh_monai.comparison import ComparisonOptions, compare
from mrh_monai.contributions import NoiseOptions, contribution
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.evaluation import LabelFiles, evaluate
from mrh_monai.inference import PredictionOptions, load_bundle
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.maps import parameter_maps
from mrh_monai.protocol import MRH_NET
from mrh_monai.report.predicted_subject import find_predictions, read_predicted_subject
from mrh_monai.studies import load_study_data
from mrh_monai.subjects import Datalist, Layout, Subject
from mrh_monai.training import SamplingOptions, TrainingData

pytestmark = pytest.mark.filterwarnings("ignore:.*no gradient table beside the images")

CPU = PredictionOptions(device="cpu")
PLACED = np.diag([0.0625, 0.0625, 0.0625, 1])
VOLUMES = [np.ones((16, 6, 14), np.int16)]
VOLUMES[0][8:, :, 3:] = 2


@pytest.fixture(scope="module", params=[0, 2])
def axis(request):
    return request.param


@pytest.fixture(scope="module")
def plain(study, tmp_path_factory):
    """The study as NIfTI files with an affine, coronal along axis 1."""
    return turned_datalist(study, 1, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def other(study, axis, tmp_path_factory):
    """The same files along another axis, which only their affine names."""
    return turned_datalist(study, axis, tmp_path_factory.mktemp(f"axis{axis}"))


def turned_datalist(study, axis, folder):
    sections = Datalist.read(study / "datalist.json").sections
    datalist = Datalist(**{name: tuple(turned(s, axis, folder, PLACED) for s in subjects) for name, subjects in sections.items()})
    datalist.write(folder / "datalist.json")
    return Datalist.read(folder / "datalist.json")


@pytest.fixture(scope="module")
def predictor(study_bundle):
    return load_bundle(study_bundle, CPU)


def file_order(volume, axis):
    return in_order(volume, inverse_order(coronal_order(axis)))


def test_training_patches_are_the_same(plain, other):
    batches = [TrainingData(each, MRH_NET, SamplingOptions(patches=200, validation_patches=50)) for each in (plain, other)]
    for part in ("train", "validation"):
        one, two = (getattr(each, part).batch(np.arange(50)) for each in batches)
        for key in one:
            np.testing.assert_array_equal(one[key], two[key], key)
    assert batches[0].scaling == batches[1].scaling


@pytest.mark.parametrize("slices", [None, ((1, 4),)])
def test_a_prediction_is_the_same_and_lies_as_its_scan(predictor, plain, other, axis, slices):
    expected = predictor.predict(plain.test[0], slices=slices)
    found = predictor.predict(other.test[0], slices=slices)
    np.testing.assert_array_equal(found.stain.view(np.int32), file_order(expected.stain, axis).view(np.int32))
    np.testing.assert_array_equal(found.mask, file_order(expected.mask, axis))
    np.testing.assert_array_equal(found.affine, nibabel.load(other.test[0].image[0]).affine)
    in_memory = predictor.predict(arrays_of(other.test[0]), slices=slices)
    np.testing.assert_array_equal(in_memory.stain, found.stain)
    np.testing.assert_array_equal(in_memory.affine, found.affine)


def test_scores_are_the_same_of_files_and_of_a_prediction_in_memory(predictor, plain, other, tmp_path):
    scores = []
    for subject in (plain.test[0], other.test[0]):
        prediction = predictor.predict(subject)
        scores.append(evaluate(prediction, subject.target, subject.mask))
        assert evaluate(prediction.save(tmp_path / "af.nii.gz"), subject.target, subject.mask) == scores[-1]
    assert scores[0] == scores[1]


def test_parameter_maps_are_the_same(plain, other, axis):
    expected, found = (parameter_maps(each.test[0]).maps for each in (plain, other))
    assert list(expected) == list(found)
    for name in found:
        np.testing.assert_array_equal(found[name], file_order(expected[name], axis), name)


@pytest.fixture
def labels(axis, tmp_path):
    matrix = affine_in_order(PLACED, coronal_order(axis))
    return [write_nifti(tmp_path / "one.nii", VOLUMES[0], PLACED), write_nifti(tmp_path / "two.nii", file_order(VOLUMES[0], axis), matrix)]


@pytest.mark.analysis
def test_a_comparison_with_regions_is_the_same(predictor, plain, other, labels):
    options = [ComparisonOptions(labels=LabelFiles(path), voxels=200, block_mm=0.2) for path in labels]
    expected, found = (compare(predictor, each, chosen) for each, chosen in zip((plain, other), options, strict=True))
    np.testing.assert_equal(found.models, expected.models)
    np.testing.assert_equal(found.regions, expected.regions)


@pytest.mark.analysis
def test_a_contribution_with_regions_is_the_same(predictor, plain, other, labels):
    one, two = (
        contribution(predictor, each.test[0], ["t2", "mt_on"], NoiseOptions(0.2, 2, 60, 0), LabelFiles(path))
        for each, path in zip((plain, other), labels, strict=True)
    )
    assert one.images.rows() == two.images.rows()
    assert one.images.regions.keys() == two.images.regions.keys()


@pytest.mark.analysis
def test_a_study_has_the_same_data(plain, other, tmp_path):
    for number, each in enumerate((plain, other)):
        each.write(tmp_path / f"{number}.json")
    one, two = (load_study_data(tmp_path / f"{number}.json", MRH_NET) for number in (0, 1))
    for first, second in zip(one.training + one.test, two.training + two.test, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.target, second.target)


@pytest.mark.analysis
def test_a_report_reads_the_same_subject(predictor, plain, other, tmp_path):
    read = []
    for name, each in (("plain", plain), ("other", other)):
        predictor.predict(each.test[0]).save(tmp_path / name / "af.nii.gz")
        read.append(read_predicted_subject(find_predictions(tmp_path / name)[0]))
    for part in ("stain", "mask", "affine"):
        np.testing.assert_array_equal(getattr(read[0], part), getattr(read[1], part), part)
    assert [(check.found, check.good) for check in read[0].checks[1:]] == [(check.found, check.good) for check in read[1].checks[1:]]


@pytest.fixture
def scanner(study, axis, tmp_path):
    """Files as a scanner may write them: Analyze, without an orientation, slices 2.9 times as thick as voxels are wide."""
    subject = Datalist.read(study / "datalist.json").test[0]
    spacing = [0.14, 0.14, 0.14]
    spacing[axis] = 0.4
    folder = tmp_path / "m7"
    for path in (*subject.image, *subject.files.values()):
        write_analyze(folder / path.name, file_order(np.asanyarray(nibabel.load(path).dataobj).reshape(16, 6, 14, -1), axis), 0.14)
        header = nibabel.AnalyzeHeader.from_fileobj((folder / path.name).with_suffix(".hdr").open("rb"))
        header["pixdim"][1:4] = spacing
        with (folder / path.name).with_suffix(".hdr").open("wb") as file:
            header.write_to(file)
    return Subject("m7", tuple(folder / path.name for path in subject.image), **{key: folder / p.name for key, p in subject.files.items()})


def test_files_without_an_orientation_need_a_word_of_the_user_or_of_the_bundle(predictor, study, study_bundle, scanner, axis, tmp_path):
    message = rf"expected the array axis .* state `coronal_axis`, such as {axis}, in the datalist's entry or the layout, or give --coronal"
    with pytest.raises(SubjectError, match=message):
        predictor.predict(scanner)
    stated = load_bundle(study_bundle, PredictionOptions(device="cpu", coronal_axis=axis)).predict(scanner)
    bundle = shutil.copytree(study_bundle, tmp_path / "mrh_af")
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("coronal_axis: null", f"coronal_axis: {axis}"))
    assert yaml.safe_load(config.read_text())["coronal_axis"] == axis
    own = load_bundle(bundle, CPU)
    found = own.predict(scanner)
    expected = predictor.predict(study / "subject04")
    for each in (stated, found):
        np.testing.assert_array_equal(each.stain, file_order(expected.stain, axis))
        assert each.record["coronal_axis"] == axis
    listed = Datalist((scanner,), (), (scanner,))
    assert [model["scores"] for model in compare(own, listed, ComparisonOptions(voxels=200, with_maps=False)).models]


@pytest.mark.parametrize("words", [[], ["--coronal-axis", "{axis}"]])
def test_the_verbs_write_and_take_the_axis(call, study_bundle, scanner, axis, tmp_path, words):
    layout = {"image": [path.name for path in scanner.image], "mask": scanner.mask.name, "fa": scanner.fa.name}
    if not words:
        layout["coronal_axis"] = axis
    (tmp_path / "layout.yaml").write_text(json.dumps(layout))
    words = ["--layout", tmp_path / "layout.yaml", *(word.format(axis=axis) for word in words)]
    status, _, err = call("datalist", tmp_path, "-o", tmp_path / "datalist.json", "--train", 1, *words)
    assert status == 0, err
    assert [entry["coronal_axis"] for entry in json.loads((tmp_path / "datalist.json").read_text())["training"]] == [axis]
    status, _, err = call("predict", study_bundle, tmp_path / "m7", "-o", tmp_path / "af.nii.gz", *words, "--device", "cpu")
    assert status == 0, err
    assert json.loads((tmp_path / "af.json").read_text())["coronal_axis"] == axis
    status, _, err = call("maps", tmp_path / "m7", "-o", tmp_path / "maps", *words)
    assert status == 0, err


def test_an_untold_axis_ends_the_verb_in_one_sentence(call, study_bundle, scanner, tmp_path):
    (tmp_path / "layout.yaml").write_text(json.dumps({"image": [path.name for path in scanner.image], "mask": scanner.mask.name}))
    status, _, err = call("predict", study_bundle, tmp_path / "m7", "-o", tmp_path / "a.nii", "--layout", tmp_path / "layout.yaml")
    assert (status, err.count("\n")) == (1, 1)
    assert "--coronal-axis" in err
    assert not (tmp_path / "a.nii").exists()


def test_patches_that_do_not_lie_in_the_finest_plane_are_said(predictor, scanner, study_bundle):
    with pytest.warns(MRHWarning, match="coronal slices lie along axis 1, and the voxels are"):
        load_bundle(study_bundle, PredictionOptions(device="cpu", coronal_axis=1)).predict(scanner)


@pytest.mark.parametrize("stated", ["by the subject", "by the options"])
def test_the_axis_of_arrays_stays_with_their_prediction(study_bundle, plain, other, axis, stated, tmp_path):
    arrays = replace(arrays_of(other.test[0]), affine=PLACED, coronal_axis=axis if stated == "by the subject" else None)
    options = CPU if stated == "by the subject" else replace(CPU, coronal_axis=axis)
    prediction = load_bundle(study_bundle, options).predict(arrays)
    expected = evaluate(load_bundle(study_bundle, CPU).predict(plain.test[0]), plain.test[0].target, plain.test[0].mask)
    truth = [write_nifti(tmp_path / f"{role}.nii", getattr(arrays, role), PLACED) for role in ("target", "mask")]
    assert evaluate(prediction, arrays.target, arrays.mask) == expected
    assert evaluate(prediction.save(tmp_path / "af.nii.gz"), *truth) == expected


@pytest.mark.parametrize("kind", ["image", "manifest"])
def test_the_axis_of_a_layout_holds_for_images_and_manifests_too(predictor, study, other, axis, kind, tmp_path):
    subject = other.test[0]
    voxels = arrays_of(subject)
    write_nifti(tmp_path / "m7.nii", voxels.image, PLACED)
    write_nifti(tmp_path / "m7_mask.nii", voxels.mask, PLACED)
    (tmp_path / "m8.mrh.json").write_text(json.dumps({"image": "m7.nii", "mask": "m7_mask.nii"}))
    path = tmp_path / ("m7.nii" if kind == "image" else "m8.mrh.json")
    found = predictor.predict(path, layout=Layout(("scan*.nii",), coronal_axis=axis))
    np.testing.assert_array_equal(found.stain, predictor.predict(subject).stain)
    assert not np.array_equal(predictor.predict(path).stain, found.stain)


def test_maps_need_no_axis(scanner, axis):
    assert parameter_maps(scanner).maps["mtr"].shape == nibabel.load(scanner.mask).shape[:3]


def test_an_option_that_the_datalist_overrules_is_said(study_bundle, scanner, study, axis, tmp_path):
    Datalist(test=(replace(scanner, coronal_axis=axis),)).write(tmp_path / "datalist.json")
    with pytest.warns(MRHWarning, match="coronal_axis 1 is not used for m7: datalist, manifest or layout state another one"):
        assert Datalist.read(tmp_path / "datalist.json").with_default_axis(1).test[0].coronal_axis == axis


@pytest.mark.training
def test_a_bundle_run_advises_its_own_option(study_bundle, scanner, axis, tmp_path):
    Datalist(test=(scanner,)).write(tmp_path / "datalist.json")
    words = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", study_bundle, "--config_file"]
    words += [study_bundle / "configs" / "inference.yaml", "--datalist", tmp_path / "datalist.json", "--output_dir", tmp_path / "out"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.endswith(f"or give --coronal_axis {axis}."), last
