import json
import subprocess
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest

import mrh_monai
from helpers.gradient_files import write_fsl
from helpers.subjects import arrays_of, write_mrh_subject, write_nifti
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import MRHWarning, OptionError, OutputError, SubjectError
from mrh_monai.io.volume_files import read_header
from mrh_monai.maps.map_plan import fit_maps, plan_maps
from mrh_monai.maps.map_volumes import ParameterMaps, parameter_maps
from mrh_monai.protocol import MRH_NET
from mrh_monai.protocol.mrh_net import SHELL_2000
from mrh_monai.subjects.subject_search import find_subject

pytest.importorskip("dipy", reason="maps need the extra `analysis`")

pytestmark = pytest.mark.analysis


def test_one_4d_file_is_fitted_as_dipy_fits_it(shared, tmp_path):
    from dipy.core.gradients import gradient_table
    from dipy.io.gradients import read_bvals_bvecs
    from dipy.reconst.dti import TensorModel

    stem = shared / "real" / "small_64D"
    files = parameter_maps(stem.with_suffix(".nii")).save(tmp_path)
    assert [path.name for path in files] == [f"{name}_1000.nii.gz" for name in ("fa", "md", "ad", "rd")]
    image = nibabel.load(stem.with_suffix(".nii"))
    signals = image.get_fdata()
    b_values, directions = read_bvals_bvecs(f"{stem}.bval", f"{stem}.bvec")
    fit = TensorModel(gradient_table(b_values, bvecs=directions, b0_threshold=100), fit_method="OLS").fit(signals)
    sound = (signals > 0).all(-1)
    assert sound.sum() > 500
    for path, expected in zip(files, (fit.fa, fit.md * 1e3, fit.ad * 1e3, fit.rd * 1e3), strict=True):
        written = nibabel.load(path)
        np.testing.assert_allclose(written.get_fdata()[sound], expected[sound], atol=1e-5)
        np.testing.assert_allclose(written.affine, image.affine, atol=1e-6)
        assert written.get_data_dtype() == np.float32
        assert not written.get_fdata()[signals[..., b_values < 100].min(-1) <= 0].any()


def test_a_kit_subject_has_the_kits_own_fa(kit_subject, tmp_path):
    with pytest.warns(MRHWarning, match="the b-values and directions of the protocol are used"):
        files = parameter_maps(kit_subject).save(tmp_path)
    names = [path.name.removesuffix(".nii.gz") for path in files]
    assert names == ["t2w", "mtr", *(f"{name}_{b}" for b in (1900, 4800) for name in ("fa", "md", "ad", "rd")), "mk"]
    fa = nibabel.load(tmp_path / "fa_1900.nii.gz").get_fdata()
    kit, mask = (
        np.asarray(nibabel.load(kit_subject / name).dataobj).reshape(fa.shape) for name in ("rigidaffine_Lddm_fa.img", "Masked_outline.img")
    )
    # The kit leaves eigenvalues below 0, which noise makes in some voxels, as they are.
    signals = np.asarray(nibabel.load(kit_subject / "rigidaffine_Lddm_dwi2000.img").dataobj)[mask > 0]
    b, g = np.array(SHELL_2000)[:, 0], np.array(SHELL_2000)[:, 1:]
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    design = np.column_stack([np.ones(32), *(-b * g[:, i] * g[:, j] * (1 + (i != j)) for i, j in pairs)])
    tensors = np.empty((len(signals), 3, 3))
    for column, (i, j) in enumerate(pairs, 1):
        tensors[:, i, j] = tensors[:, j, i] = np.log(signals) @ np.linalg.pinv(design)[column]
    sound = np.linalg.eigvalsh(tensors).min(1) > 0
    difference = np.abs(np.floor(255 * fa[mask > 0]) - kit[mask > 0])
    assert sound.mean() > 0.95
    assert np.mean(difference[sound] <= 1) > 0.999
    assert np.mean(difference <= 1) > 0.98
    assert kit[mask > 0].std() > 10
    assert not fa[mask == 0].any()


@pytest.fixture
def folder(tmp_path):
    return write_mrh_subject(tmp_path / "subject", 5)


@pytest.mark.filterwarnings("ignore:.*no gradient table")
def test_maps_of_a_folder_are_those_of_its_voxels(folder, tmp_path):
    files = parameter_maps(folder).save(tmp_path / "maps")
    subject = find_subject(folder)
    loaded = load_subject(subject, MRH_NET, ReadingOptions(margin=0))
    plan = plan_maps([read_header(path) for path in subject.image], MRH_NET)
    expected = fit_maps(loaded.image[loaded.mask], plan)
    assert [path.name for path in files] == [f"{name}.nii.gz" for name in expected]
    assert all(expected[name].std() > 0.01 for name in ("t2w", "fa_1900", "md_1900", "mtr"))
    for path, values in zip(files, expected.values(), strict=True):
        image = nibabel.load(path)
        voxels = image.get_fdata()
        np.testing.assert_allclose(voxels[loaded.mask], values, rtol=1e-6)
        np.testing.assert_allclose(image.affine, loaded.affine)
        assert not voxels[~loaded.mask].any()


@pytest.mark.filterwarnings("ignore:.*no gradient table")
def test_another_mask_takes_the_place_of_the_subjects_own(folder, tmp_path):
    mask = np.zeros((16, 6, 14), np.uint8)
    mask[3:5, 2, 3:9] = 1
    write_nifti(tmp_path / "mask.nii.gz", mask, np.diag([0.0625, 0.0625, 0.0625, 1]))
    parameter_maps(folder, mask=tmp_path / "mask.nii.gz").save(tmp_path / "maps")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "maps" / "t2w.nii.gz").get_fdata() > 0, mask > 0)


@pytest.mark.filterwarnings("ignore:.*no gradient table")
def test_folder_manifest_and_subject_give_the_same_maps(folder, tmp_path):
    """The public function takes whatever stands for a subject."""
    subject = replace(find_subject(folder), fa=None)
    manifest = tmp_path / "m1.mrh.json"
    manifest.write_text(json.dumps({"image": [str(path) for path in subject.image], "mask": str(subject.mask)}))
    whole, *others = (mrh_monai.parameter_maps(scan) for scan in (folder, subject, manifest))
    assert whole.mask.sum() == 14 * 6 * 12
    for other in others:
        assert list(other.maps) == list(whole.maps)
        assert all(np.array_equal(other.maps[name], volume) for name, volume in whole.maps.items())
        np.testing.assert_array_equal(other.mask, whole.mask)
        np.testing.assert_array_equal(other.affine, whole.affine)


@pytest.mark.filterwarnings("ignore:.*no gradient table")
def test_arrays_give_the_maps_of_their_files(folder):
    arrays, expected = arrays_of(find_subject(folder)), mrh_monai.parameter_maps(folder)
    # Two diffusion files are two scans, each with unweighted volumes of its own; one array is one scan.
    same = {"t2w", "mtr"}
    whole = mrh_monai.parameter_maps(arrays)
    for found in (
        mrh_monai.parameter_maps(arrays.image, mask=arrays.mask, affine=arrays.affine),
        mrh_monai.parameter_maps(arrays.image, mask=arrays.mask.tolist(), affine=arrays.affine.tolist()),
    ):
        assert all(np.array_equal(found.maps[name], volume) for name, volume in whole.maps.items())
        np.testing.assert_array_equal(found.affine, expected.affine)
    assert list(whole.maps) == list(expected.maps)
    assert all(np.array_equal(whole.maps[name], expected.maps[name]) for name in same)
    np.testing.assert_allclose(whole.maps["md_1900"], expected.maps["md_1900"], atol=0.3)
    with pytest.raises(SubjectError, match="image array: expected a mask and an affine with it"):
        mrh_monai.parameter_maps(arrays.image)
    with pytest.raises(OptionError, match="mask: expected a file, since the subject has files, found an array"):
        mrh_monai.parameter_maps(folder, mask=arrays.mask)
    with pytest.raises(OptionError, match="mask: expected no mask beside SubjectArrays, found a mask"):
        mrh_monai.parameter_maps(arrays, mask=folder / "Masked_outline.img")
    for scan in (folder, arrays, folder / "rigidaffine_Lddm_dwi2000.img"):
        with pytest.raises(OptionError, match="affine: expected an affine only with an image array"):
            mrh_monai.parameter_maps(scan, affine=arrays.affine)


@pytest.mark.filterwarnings("ignore:.*no gradient table")
def test_a_4d_image_with_its_mask_beside_it_is_a_subject(folder, tmp_path):
    arrays = arrays_of(find_subject(folder))
    write_nifti(tmp_path / "m1.nii.gz", arrays.image, arrays.affine)
    write_nifti(tmp_path / "m1_mask.nii.gz", arrays.mask, arrays.affine)
    found, expected = mrh_monai.parameter_maps(tmp_path / "m1.nii.gz"), mrh_monai.parameter_maps(arrays)
    assert all(np.array_equal(found.maps[name], volume) for name, volume in expected.maps.items())


@pytest.mark.filterwarnings("ignore:.*has too few directions")
def test_a_diffusion_file_is_fitted_inside_the_mask_beside_it(scan):
    mask = np.zeros(nibabel.load(scan).shape[:3], np.uint8)
    mask[1:3, 1] = 1
    write_nifti(scan.parent / f"{scan.name.split('.')[0]}_mask.nii.gz", mask, nibabel.load(scan).affine)
    np.testing.assert_array_equal(parameter_maps(scan).mask, mask > 0)


def test_maps_are_saved_under_their_names(tmp_path, rng):
    volumes = {name: rng.random((4, 3, 2)).astype(np.float32) for name in ("t2w", "fa_1900")}
    affine = np.diag([0.1, 0.2, 0.3, 1.0])
    files = ParameterMaps(volumes, np.ones((4, 3, 2), bool), affine).save(tmp_path / "new" / "maps")
    assert files == [tmp_path / "new" / "maps" / f"{name}.nii.gz" for name in volumes]
    for path, volume in zip(files, volumes.values(), strict=True):
        image = nibabel.load(path)
        np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), volume)
        np.testing.assert_allclose(image.affine, affine)
        assert image.get_data_dtype() == np.float32
    with pytest.raises(OutputError, match="t2w.nii.gz: expected a folder that can be written"):
        ParameterMaps(volumes, np.ones((4, 3, 2), bool), affine).save(files[0])


@pytest.fixture
def scan(tmp_path, rng):
    """A 4D file of one unweighted volume, twelve directions and three at another b-value, and its table."""
    directions = rng.normal(size=(16, 3))
    b_values = np.array([0.0] + [1000] * 12 + [2500] * 3)
    write_fsl(tmp_path / "dwi.bval", b_values, directions.T)
    return write_nifti(tmp_path / "dwi.nii.gz", rng.uniform(100, 900, (4, 3, 4, 16)).astype(np.float32))


def test_a_shell_of_too_few_directions_is_left_out_with_a_warning(scan, tmp_path):
    with pytest.warns(MRHWarning, match=r"dwi\.bval: the shell at b = 2500 s/mm\^2 has too few directions for a tensor"):
        files = parameter_maps(scan).save(tmp_path / "out")
    assert [path.name for path in files] == [f"{name}_1000.nii.gz" for name in ("fa", "md", "ad", "rd")]


@pytest.mark.filterwarnings("ignore:.*too few directions")
def test_nan_and_a_scan_without_signal_are_one_sentence(scan, tmp_path):
    voxels = nibabel.load(scan).get_fdata(dtype=np.float32)
    write_nifti(scan, np.zeros_like(voxels))
    with pytest.raises(SubjectError, match=r"dwi\.nii\.gz: expected signal in the unweighted volumes, found only zeros"):
        parameter_maps(scan).save(tmp_path / "out")
    voxels[1, 1, 1, 5] = np.nan
    write_nifti(scan, voxels)
    with pytest.raises(SubjectError, match=r"dwi\.nii\.gz: expected numbers inside the mask, found NaN or Inf"):
        parameter_maps(scan).save(tmp_path / "out")


@pytest.mark.filterwarnings("always:.*too few directions")
def test_the_verb(call, scan, tmp_path):
    status, out, err = call("maps", scan, "-o", tmp_path / "maps")
    assert (status, "the shell at b = 2500 s/mm^2 has too few directions for a tensor" in err) == (0, True)
    assert out.splitlines() == [str(tmp_path / "maps" / f"{name}_1000.nii.gz") for name in ("fa", "md", "ad", "rd")]
    np.testing.assert_allclose(nibabel.load(tmp_path / "maps" / "fa_1000.nii.gz").affine, nibabel.load(scan).affine)


def test_no_gradient_table_is_one_sentence_and_status_1(scan, tmp_path):
    scan.with_name("dwi.bval").unlink()
    command = [sys.executable, "-m", "mrh_monai.cli", "maps", str(scan), "-o", str(tmp_path / "maps")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "dwi.nii.gz: expected a gradient table for diffusion maps, found no table, and no b-values in the protocol; give Para"
        in done.stderr
    )
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["nowhere"],
            "nowhere: expected a subject's folder, a 4D image, a manifest (*.mrh.json) or a MAT file of patches, found no such file",
        ),
        (["{scan}", "--gradients", "nowhere.bval"], "nowhere.bval: expected a gradient table, found no such file"),
        (["{scan}", "--gradients", "{other}"], "short.bval: expected 16 b-values, one for each volume of dwi.nii.gz, found 2"),
        (["{scan}", "--mask", "nowhere.nii"], "nowhere.nii: expected a volume file, found no such file"),
        (["{scan}", "--mask", "{small}"], "small.nii: expected shape (4, 3, 4) as in dwi.nii.gz, found (2, 2, 2)"),
        (["{scan}", "--channels", "nowhere.yaml"], "nowhere.yaml: expected a YAML file with a list `channels`"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*too few directions")
def test_wrong_words_are_one_sentence(call, scan, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    other = write_fsl(tmp_path / "short.bval", [0, 1000], np.eye(3)[:, :2])
    small = write_nifti(tmp_path / "small.nii", np.ones((2, 2, 2), np.uint8))
    status, _, err = call("maps", *(word.format(scan=scan, other=other, small=small) for word in words), "-o", tmp_path / "maps")
    assert status == 1
    assert sentence in err
