import subprocess
import sys

import nibabel
import numpy as np
import pytest

from helpers.gradient_files import write_fsl
from helpers.subjects import write_mrh_subject, write_nifti
from mrh_monai.data.subject import find_subject
from mrh_monai.data.subject_voxels import load_subject
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io.volume_files import read_header
from mrh_monai.maps.gradient_table import GradientTable
from mrh_monai.maps.map_fits import MapPlan, parameter_maps, plan_maps, write_maps
from mrh_monai.protocol.mr_protocol import MRH_NET, SHELL_2000, SHELL_5000, Channel, MRProtocol

pytest.importorskip("dipy", reason="maps need the extra `analysis`")

EIGENVALUES = np.array([1.7, 0.4, 0.2])  # um^2/ms

pytestmark = pytest.mark.analysis


def two_shells(b0=0.0):
    rows = np.array(SHELL_2000 + SHELL_5000)
    b_values = np.where(rows[:, 0] < 100, b0, rows[:, 0])
    return GradientTable(b_values, rows[:, 1:], np.repeat([0, 1], 32), "t")


def plan_of(table):
    return MapPlan(None, None, table, tuple(range(len(table))))


def gradient_table(table, chosen=slice(None)):
    from dipy.core.gradients import gradient_table

    return gradient_table(table.b_values[chosen], bvecs=table.directions[chosen], b0_threshold=100)


@pytest.fixture
def tensor(rng):
    """A diffusion tensor of known eigenvalues, turned anyhow, in mm^2/s."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn @ np.diag(EIGENVALUES * 1e-3) @ turn.T


@pytest.fixture
def noisy(rng, tensor):
    """Voxels whose noise is that of a scan."""
    table = two_shells(43.5)
    weights = np.einsum("ni,ij,nj->n", table.directions, tensor, table.directions)
    clean = rng.uniform(2000, 8000, (50, 1)) * np.exp(-table.b_values * weights * rng.uniform(0.3, 1, (50, 1)))
    return table, np.rint(np.maximum(clean + rng.normal(0, 30, clean.shape), 1)).astype(np.int16)


def test_a_known_tensor_is_found_exactly(tensor):
    table = two_shells()
    signals = 4000 * np.exp(-table.b_values * np.einsum("ni,ij,nj->n", table.directions, tensor, table.directions))[None]
    maps = parameter_maps(signals, plan_of(table))
    assert list(maps) == [f"{name}_{shell}" for shell in (1900, 4800) for name in ("fa", "md", "ad", "rd")] + ["mk"]
    mean = EIGENVALUES.mean()
    expected = {"fa": np.sqrt(1.5 * ((EIGENVALUES - mean) ** 2).sum() / (EIGENVALUES**2).sum()), "md": mean, "ad": 1.7, "rd": 0.3}
    for shell in (1900, 4800):
        for name, value in expected.items():
            assert maps[f"{name}_{shell}"][0] == pytest.approx(value, rel=1e-5), name
    assert maps["mk"][0] == pytest.approx(0, abs=1e-5)
    assert all(values.dtype == np.float32 for values in maps.values())


@pytest.mark.parametrize("kurtosis", [0.4, 1.2])
def test_an_isotropic_kurtosis_is_found_exactly(kurtosis):
    table, diffusivity = two_shells(), 0.5e-3
    b_d = table.b_values * diffusivity
    maps = parameter_maps(3000 * np.exp(-b_d + b_d**2 * kurtosis / 6)[None], plan_of(table))
    assert maps["mk"][0] == pytest.approx(kurtosis, rel=1e-4)


def test_noisy_voxels_are_fitted_as_dipy_fits_them(noisy):
    from dipy.reconst.dki import DiffusionKurtosisModel
    from dipy.reconst.dti import TensorModel

    table, signals = noisy
    maps = parameter_maps(signals, plan_of(table))
    for shell, chosen in ((1900, slice(0, 32)), (4800, slice(32, 64))):
        fit = TensorModel(gradient_table(table, chosen), fit_method="OLS").fit(signals[:, chosen].astype(float))
        for name, scale in (("fa", 1), ("md", 1e3), ("ad", 1e3), ("rd", 1e3)):
            np.testing.assert_allclose(maps[f"{name}_{shell}"], scale * getattr(fit, name), rtol=1e-5, atol=1e-6)
    fit = DiffusionKurtosisModel(gradient_table(table), fit_method="OLS").fit(signals.astype(float))
    expected = fit.mk(min_kurtosis=-3 / 7, max_kurtosis=10)
    assert expected.std() > 0.05
    np.testing.assert_allclose(maps["mk"], expected, rtol=1e-4, atol=1e-4)


def test_chunks_change_nothing(noisy, monkeypatch):
    table, signals = noisy
    whole = parameter_maps(signals, plan_of(table))
    monkeypatch.setattr("mrh_monai.maps.map_fits.CHUNK", 7)
    for name, values in parameter_maps(signals, plan_of(table)).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-5, atol=1e-6)


def test_zeros_count_as_the_smallest_signal_of_the_scan(noisy):
    table, signals = noisy
    signals[3, 40] = 7
    floored, zeros = np.maximum(signals, signals.min()), signals.copy()
    lowest = np.unravel_index(np.argmin(signals), signals.shape)
    other = (lowest[0] + 1) % 50, 50
    floored[other], zeros[other] = signals.min(), 0
    expected, found = (parameter_maps(values, plan_of(table)) for values in (floored, zeros))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
        assert np.isfinite(parameter_maps(np.zeros_like(signals), plan_of(table))[name]).all()


def test_t2_and_the_magnetization_transfer_ratio():
    signals = np.array([[50, 30, 40], [60, 0, 40], [70, 30, 0], [80, 100, 40]], np.int16)
    maps = parameter_maps(signals, MapPlan(0, (1, 2), None, ()))
    assert list(maps) == ["t2w", "mtr"]
    np.testing.assert_array_equal(maps["t2w"], [50, 60, 70, 80])
    np.testing.assert_allclose(maps["mtr"], [0.25, 1, 0, -1])


def test_a_pair_alone_has_its_ratio_and_needs_no_table(few, tmp_path):
    headers = [read_header(write_nifti(tmp_path / f"{name}.nii", np.ones((3, 3, 3), np.int16))) for name in few.names]
    protocol = MRProtocol(tuple(Channel(name) for name in few.names))
    assert plan_maps(headers, protocol).names == ["mtr"]
    alone = MRProtocol((Channel("qa"), Channel("iso"), Channel("mt_on")))
    with pytest.raises(SubjectError, match="expected a gradient table for diffusion maps, found none beside it"):
        plan_maps(headers, alone)


def test_one_4d_file_is_fitted_as_dipy_fits_it(shared, tmp_path):
    from dipy.core.gradients import gradient_table
    from dipy.io.gradients import read_bvals_bvecs
    from dipy.reconst.dti import TensorModel

    stem = shared / "real" / "small_64D"
    files = write_maps(stem.with_suffix(".nii"), tmp_path)
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
    with pytest.warns(MRHWarning, match="the protocol's own b-values"):
        files = write_maps(kit_subject, tmp_path)
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
    files = write_maps(folder, tmp_path / "maps")
    subject = find_subject(folder)
    loaded = load_subject(subject, MRH_NET, margin=0)
    plan = plan_maps([read_header(path) for path in subject.image], MRH_NET)
    expected = parameter_maps(loaded.image[loaded.mask], plan)
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
    write_maps(folder, tmp_path / "maps", mask=tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "maps" / "t2w.nii.gz").get_fdata() > 0, mask > 0)


@pytest.fixture
def scan(tmp_path, rng):
    """A 4D file of one unweighted volume, twelve directions and three at another b-value, and its table."""
    directions = rng.normal(size=(16, 3))
    b_values = np.array([0.0] + [1000] * 12 + [2500] * 3)
    write_fsl(tmp_path / "dwi.bval", b_values, directions.T)
    return write_nifti(tmp_path / "dwi.nii.gz", rng.uniform(100, 900, (4, 3, 4, 16)).astype(np.float32))


def test_a_shell_of_too_few_directions_is_left_out_with_a_warning(scan, tmp_path):
    with pytest.warns(MRHWarning, match=r"dwi\.bval: the shell at b = 2500 s/mm\^2 has too few directions for a tensor"):
        files = write_maps(scan, tmp_path / "out")
    assert [path.name for path in files] == [f"{name}_1000.nii.gz" for name in ("fa", "md", "ad", "rd")]


def test_too_few_directions_of_all_shells_is_one_sentence(tmp_path):
    write_fsl(tmp_path / "dwi.bval", [0, 1000, 1000, 1000], np.c_[np.zeros(3), np.eye(3)])
    write_nifti(tmp_path / "dwi.nii", np.ones((3, 3, 3, 4), np.int16))
    with (
        pytest.warns(MRHWarning, match="too few directions"),
        pytest.raises(
            SubjectError, match="an unweighted volume and at least six directions of a shell, found none of these; add the scans"
        ),
    ):
        write_maps(tmp_path / "dwi.nii", tmp_path / "out")


def test_six_directions_on_a_cone_are_too_few(tmp_path):
    """As many as a tensor has elements, and yet they cannot tell them apart."""
    angles = np.arange(6) * np.pi / 3
    directions = np.c_[np.cos(angles), np.sin(angles), np.ones(6)] / 2**0.5
    table = GradientTable(np.array([0.0] + [1000] * 6), np.r_[np.zeros((1, 3)), directions], np.zeros(7, int), "t")
    assert plan_of(table).shells == {}
    apart = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]) / 2**0.5
    table = GradientTable(table.b_values, np.r_[np.zeros((1, 3)), apart], table.scans, "t")
    assert list(plan_of(table).shells) == [1000]
    assert not plan_of(table).has_kurtosis


@pytest.mark.filterwarnings("ignore:.*too few directions")
def test_nan_and_a_scan_without_signal_are_one_sentence(scan, tmp_path):
    voxels = nibabel.load(scan).get_fdata(dtype=np.float32)
    write_nifti(scan, np.zeros_like(voxels))
    with pytest.raises(SubjectError, match=r"dwi\.nii\.gz: expected"):
        write_maps(scan, tmp_path / "out")
    voxels[1, 1, 1, 5] = np.nan
    write_nifti(scan, voxels)
    with pytest.raises(SubjectError, match=r"dwi\.nii\.gz: expected"):
        write_maps(scan, tmp_path / "out")


def test_the_verb(call, scan, tmp_path):
    status, out, err = call("maps", scan, "-o", tmp_path / "maps")
    assert (status, "the shell at b = 2500 s/mm^2 has too few directions for a tensor" in err) == (0, True)
    assert out.splitlines() == [str(tmp_path / "maps" / f"{name}_1000.nii.gz") for name in ("fa", "md", "ad", "rd")]
    np.testing.assert_allclose(nibabel.load(tmp_path / "maps" / "fa_1000.nii.gz").affine, nibabel.load(scan).affine)


def test_no_gradient_table_is_one_sentence_and_status_1(scan, tmp_path):
    scan.with_name("dwi.bval").unlink()
    command = [sys.executable, "-m", "mrh_monai.cli.app", "maps", str(scan), "-o", str(tmp_path / "maps")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "dwi.nii.gz: expected a gradient table for diffusion maps, found none beside it and none in the protocol; give Para" in done.stderr
    )
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere: expected a subject's folder, found nothing"),
        (["{scan}", "--gradients", "nowhere.bval"], "nowhere.bval: expected a gradient table, found no such file"),
        (["{scan}", "--gradients", "{other}"], "short.bval: expected 16 b-values, one a volume of dwi.nii.gz, found 2"),
        (["{scan}", "--mask", "nowhere.nii"], "nowhere.nii: expected a file, found none"),
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
