import numpy as np
import pytest

from helpers.diffusion_signals import noisy_signals, plan_of
from helpers.gradient_files import write_fsl
from helpers.subjects import write_nifti
from mrh_monai.data.grid import read_headers
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io.volume_files import read_header
from mrh_monai.maps.map_families import MeanKurtosis, T2Weighted, TensorMaps, TransferRatio
from mrh_monai.maps.map_plan import MapPlan, fit_maps, plan_maps
from mrh_monai.protocol import MRH_NET, Channel, MRProtocol
from mrh_monai.protocol.mrh_net import SHELL_2000
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis

SHELL_MAPS = ("fa", "md", "ad", "rd")


def headers_of(folder, *names):
    return [read_header(write_nifti(folder / f"{name}.nii", np.ones((3, 3, 3), np.int16))) for name in names]


def test_mrh_nets_channels_allow_every_map(study):
    headers = read_headers(find_subject(study / "subject01"), MRH_NET)["image"]
    with pytest.warns(MRHWarning, match="no gradient table beside the images"):
        plan = plan_maps(headers, MRH_NET)
    assert plan.names == ["t2w", "mtr", *(f"{name}_{b}" for b in (1900, 4800) for name in SHELL_MAPS), "mk"]
    assert [type(family) for family in plan.families] == [T2Weighted, TransferRatio, TensorMaps, TensorMaps, MeanKurtosis]
    assert plan.families[:2] == (T2Weighted(64), TransferRatio(on=65, off=66))
    assert plan.diffusion == tuple(range(64))
    assert [np.flatnonzero(tensor.volumes).tolist() for tensor in plan.families[2:4]] == [list(range(32)), list(range(32, 64))]


def test_channels_without_b_values_need_no_table(tmp_path):
    headers = headers_of(tmp_path, "mt_off", "t2", "mt_on")
    plan = plan_maps(headers, MRProtocol(tuple(Channel(name) for name in ("mt_off", "t2", "mt_on"))))
    assert plan == MapPlan((T2Weighted(1), TransferRatio(on=2, off=0)), None, ())
    maps = fit_maps(np.array([[40, 7, 30], [80, 9, 60]], np.int16), plan)
    assert {name: values.tolist() for name, values in maps.items()} == {"t2w": [7, 9], "mtr": [0.25, 0.25]}


def test_half_a_pair_has_no_ratio(few, tmp_path):
    headers = headers_of(tmp_path, *few.names)
    assert plan_maps(headers, MRProtocol(tuple(Channel(name) for name in few.names))).names == ["mtr"]
    alone = MRProtocol((Channel("qa"), Channel("iso"), Channel("mt_on")))
    with pytest.raises(SubjectError, match="expected a gradient table for diffusion maps, found no table, and no b-values in the protocol"):
        plan_maps(headers, alone)


def test_a_shell_of_too_few_directions_is_left_out_with_a_warning(tmp_path, rng):
    header = read_header(write_nifti(tmp_path / "dwi.nii", np.ones((3, 3, 3, 16), np.int16)))
    write_fsl(tmp_path / "dwi.bval", [0.0] + [1000] * 12 + [2500] * 3, rng.normal(size=(16, 3)).T)
    with pytest.warns(MRHWarning, match=r"dwi\.bval: the shell at b = 2500 s/mm\^2 has too few directions for a tensor"):
        plan = plan_maps([header], None)
    assert plan.names == [f"{name}_1000" for name in SHELL_MAPS]


@pytest.mark.filterwarnings("ignore:.*too few directions")
def test_files_that_allow_no_map_are_refused(tmp_path):
    header = read_header(write_nifti(tmp_path / "dwi.nii", np.ones((3, 3, 3, 4), np.int16)))
    write_fsl(tmp_path / "dwi.bval", [0, 1000, 1000, 1000], np.c_[np.zeros(3), np.eye(3)])
    message = r"dwi\.nii: expected a T2-weighted image, a pair .* six directions of a shell, found other images only; add the scans"
    with pytest.raises(SubjectError, match=message):
        plan_maps([header], None)


def test_chunks_change_nothing(rng, monkeypatch):
    pytest.importorskip("dipy", reason="diffusion maps need the extra `analysis`")
    table, signals = noisy_signals(rng)
    whole = fit_maps(signals, plan_of(table))
    monkeypatch.setattr("mrh_monai.maps.map_plan.VOXELS_AT_ONCE", 7)
    for name, values in fit_maps(signals, plan_of(table)).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-5, atol=1e-6)


def test_zeros_count_as_the_smallest_signal_of_the_scan(rng):
    pytest.importorskip("dipy", reason="diffusion maps need the extra `analysis`")
    table, signals = noisy_signals(rng)
    signals[3, 40] = 7
    floored, zeros = np.maximum(signals, signals.min()), signals.copy()
    lowest = np.unravel_index(np.argmin(signals), signals.shape)
    other = (lowest[0] + 1) % 50, 50
    floored[other], zeros[other] = signals.min(), 0
    expected, found = (fit_maps(values, plan_of(table)) for values in (floored, zeros))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
        assert np.isfinite(fit_maps(np.zeros_like(signals), plan_of(table))[name]).all()


@pytest.fixture
def scan(tmp_path, rng):
    """A scan of the published shell near b = 1900, its signals, and its true FA in each voxel."""
    rows = np.array(SHELL_2000)
    tensor = np.diag([1.7e-3, 0.4e-3, 0.2e-3])
    weights = np.einsum("ni,ij,nj->n", rows[:, 1:], tensor, rows[:, 1:])
    signals = 1000 * np.exp(-rows[:, 0] * weights)
    voxels = np.broadcast_to(signals, (3, 3, 3, 32)).astype(np.float32)
    return rows[:, 0], rows[:, 1:], voxels


def fa_of(folder, b_values, directions, voxels):
    write_fsl(folder / "dwi.bval", b_values, directions.T)
    header = read_header(write_nifti(folder / "dwi.nii", voxels))
    plan = plan_maps([header], None)
    return fit_maps(voxels.reshape(-1, voxels.shape[3]), plan)["fa_1900"]


def test_dummy_vectors_and_lengths_of_directions_change_no_map(scan, tmp_path):
    b_values, directions, voxels = scan
    mean = np.array([1.7, 0.4, 0.2]).mean()
    deviations = np.array([1.7, 0.4, 0.2]) - mean
    true = np.sqrt(1.5 * (deviations**2).sum() / (np.array([1.7, 0.4, 0.2]) ** 2).sum())
    plain = fa_of(tmp_path / "plain", b_values, directions, voxels)
    np.testing.assert_allclose(plain, true, atol=5e-3)  # the imaging gradients of the unweighted volumes have no direction
    dummies = np.where(b_values[:, None] < 100, [[0.6, 0.0, 0.8]], directions)
    np.testing.assert_array_equal(fa_of(tmp_path / "dummies", b_values, dummies, voxels), plain)
    scaled = directions * np.sqrt(b_values / 3000)[:, None]
    np.testing.assert_allclose(fa_of(tmp_path / "scaled", b_values, scaled, voxels), plain, rtol=1e-5)


def test_a_shell_without_an_unweighted_volume_is_refused(scan, tmp_path):
    """Its b-values differ a little, but a signal without weighting cannot be found from that."""
    b_values, directions, voxels = scan
    weighted = b_values > 100
    assert np.ptp(b_values[weighted]) > 10
    expected = (
        r"dwi.bval: expected an unweighted volume, with b below 100 s/mm\^2, .* found the shells at b = 1900 only; add the unweighted"
    )
    with pytest.raises(SubjectError, match=expected):
        fa_of(tmp_path, b_values[weighted], directions[weighted], voxels[..., weighted])


def test_a_scan_without_an_unweighted_volume_of_its_own_takes_that_of_another_scan_aloud(tmp_path):
    directions = np.array(SHELL_2000)[2:, 1:]
    headers = [
        read_header(write_nifti(tmp_path / f"{n}.nii", np.ones((3, 3, 3, len(d)), np.int16))) for n, d in (("b0", [0]), ("dwi", directions))
    ]
    write_fsl(tmp_path / "b0.bval", [0], np.zeros((3, 1)))
    write_fsl(tmp_path / "dwi.bval", [1900] * len(directions), directions.T)
    with pytest.warns(
        MRHWarning, match=r"dwi\.bval: the scan of b = 1900 s/mm\^2 has no unweighted volume; those of the other scans are used"
    ):
        plan = plan_maps(headers, None)
    assert plan.names == [f"{name}_1900" for name in SHELL_MAPS]
