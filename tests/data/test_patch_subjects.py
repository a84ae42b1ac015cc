"""Patch files in the place of volumes: the same numbers train, and the same stain is predicted."""

import gc
import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch

from helpers.bundle_runs import SMALL, bundle_run
from helpers.matlab_files import forward, mrh_net, write_network
from helpers.patch_file_writing import cut, write_patch_file
from helpers.subjects import write_mrh_subject
from mrh_monai.cli.prediction_verbs import predict
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject, load_subjects
from mrh_monai.errors import MRHError, OptionError, OutputError, SubjectError, root_cause
from mrh_monai.io.patch_files import PatchVariable
from mrh_monai.matlab.network_import import import_from_matlab
from mrh_monai.matlab.published_outputs import reconstruct_slices
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.patches.patch_dataset import PatchDataset
from mrh_monai.patches.sampling import sample_centres
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import PublishedScaling
from mrh_monai.subjects.subject import Subject
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.usefixtures("undo_hooks")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = write_mrh_subject(tmp_path_factory.mktemp("volumes") / "subject", seed=5)
    return load_subject(find_subject(folder, target="targets/AF.img"), MRH_NET, ReadingOptions(need_target=True, need_fa=True))


@pytest.fixture(scope="module")
def arrays(volumes):
    """``data``, ``label`` and ``fa`` of three coronal slices, doubles as the released code has them."""
    slices = [1, 3, 4]
    stored = {"data": volumes.image, "label": volumes.target[..., None], "fa": volumes.fa[..., None]}
    return {name: cut(values.astype(np.float64), slices) for name, values in stored.items()}


def of(path, **options):
    return load_subject(Subject(path.stem, (path,)), MRH_NET, ReadingOptions(**options))


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_patches_come_back_as_they_were_cut(tmp_path, arrays, version, monkeypatch):
    monkeypatch.setattr("mrh_monai.io.patch_files.BLOCK_BYTES", 1 << 16)  # many blocks
    loaded = of(write_patch_file(tmp_path / "traindata.mat", version, **arrays), need_target=True)
    count = arrays["data"].shape[3]
    assert loaded.image.shape == (3, count, 3, 67)
    np.testing.assert_array_equal(loaded.image, arrays["data"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(loaded.target, arrays["label"][:, :, 0].transpose(0, 2, 1))
    np.testing.assert_array_equal(loaded.mask[1, :, 1], arrays["fa"][1, 1, 0] > 0)
    assert loaded.mask.sum() == loaded.mask[1, :, 1].sum()
    assert loaded.largest == arrays["data"].max()


def test_a_single_patch_whose_axis_matlab_drops(tmp_path, arrays):
    one = {name: values[..., :1] for name, values in arrays.items()}
    loaded = of(write_patch_file(tmp_path / "one.mat", **one))
    np.testing.assert_array_equal(loaded.image, one["data"].transpose(0, 3, 1, 2))


def test_batches_equal_the_files_patches_scaled_by_its_maximum(tmp_path, arrays, rng):
    half = arrays["data"].shape[3] // 2
    parts = [{name: values[..., part] for name, values in arrays.items()} for part in (slice(0, half), slice(half, None))]
    paths = [write_patch_file(tmp_path / f"{name}.mat", **part) for name, part in zip("ab", parts, strict=True)]
    loaded = load_subjects([Subject(path.stem, (path,)) for path in paths], MRH_NET, ReadingOptions(need_target=True))
    scaling = PublishedScaling.fit(loaded)
    assert scaling.target_max == arrays["label"].max()
    centres = sample_centres(loaded, None, 0, "published")
    assert len(centres) == sum(int((part["fa"][1, 1, 0] > 0).sum()) for part in parts)
    dataset = PatchDataset(loaded, centres, scaling.training_coefficients(loaded), scaling.target_max)
    chosen = torch.from_numpy(rng.choice(len(centres), 50, replace=False))
    batch = dataset.batch(chosen)
    largest = max(part["data"].max() for part in parts)
    for n, (which, _, patch, _) in enumerate(centres[chosen.numpy()]):
        expected = parts[which]["data"][..., patch].transpose(2, 0, 1) / largest
        np.testing.assert_allclose(batch["image"][n], expected, rtol=1e-6)
        np.testing.assert_allclose(
            batch["label"][n], parts[which]["label"][..., patch].transpose(2, 0, 1) / arrays["label"].max(), rtol=1e-6
        )


def test_data_are_never_whole_in_memory(tmp_path, arrays, monkeypatch):
    monkeypatch.setattr("mrh_monai.io.patch_files.BLOCK_BYTES", 1 << 18)
    path = write_patch_file(tmp_path / "traindata.mat", **arrays)
    largest, whole = [], arrays["data"].nbytes
    plain = PatchVariable._block

    def seen(self, start, stop):
        block = plain(self, start, stop)
        largest.append(block.nbytes)
        return block

    monkeypatch.setattr(PatchVariable, "_block", seen)
    monkeypatch.setattr("mrh_monai.io.patch_files.run_in_child_process", lambda function, *arguments, **limits: function(*arguments))
    loaded = of(path)
    assert max(largest) <= 1 << 18 < whole / 4
    base = loaded.padded
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    del base
    gc.collect()
    assert loaded.image.any()


def test_prediction_of_a_test_file_is_the_released_one(tmp_path, bundle_copy, arrays):
    graph = mrh_net(1, 67, 8)
    import_from_matlab(write_network(tmp_path / "net.mat", *graph), bundle_copy, target_max=200)
    data = {"data": arrays["data"], "fa": arrays["fa"].copy()}
    data["fa"][1, 1, 0, ::5] = 0
    path = write_patch_file(tmp_path / "testdataPatch_mouse.mat", **data)
    predict(bundle_copy, path, tmp_path / "YPred.mat")
    expected = 200 * forward(*graph, data["data"].transpose(3, 0, 1, 2) / data["data"].max())[:, 1, 1, 0]
    expected[data["fa"][1, 1, 0] == 0] = 0
    found = scipy.io.loadmat(tmp_path / "YPred.mat")
    np.testing.assert_allclose(found["YPred"].ravel(), expected, rtol=0, atol=200 * 1e-5)
    assert found["YPred"].shape == (1, 1, 1, len(expected))
    height, width = 16, 14
    slices = reconstruct_slices(tmp_path / "YPred.mat", height, width)
    assert slices.shape == (height, 3, width)
    np.testing.assert_allclose(slices[1:-1, :, 1:-1].transpose(1, 0, 2).ravel(), expected, rtol=0, atol=200 * 1e-5)
    bundle_run(bundle_copy, "inference.yaml", datalist=str(path), output_dir=str(tmp_path / "out"))
    same = scipy.io.loadmat(tmp_path / "out" / "testdataPatch_mouse" / "testdataPatch_mouse_af.mat")
    np.testing.assert_array_equal(same["YPred"], found["YPred"])
    np.testing.assert_array_equal(same["fa"].ravel(), data["fa"][1, 1, 0] > 0)


@pytest.mark.parametrize("recipe", ["fast", "released"])
def test_the_bundle_trains_on_a_file_of_patches_and_scores_another(tmp_path, bundle_copy, arrays, recipe):
    train = write_patch_file(tmp_path / "traindata.mat", data=arrays["data"], label=arrays["label"])
    options = {**SMALL, "epochs": 2, "recipe": recipe}
    bundle_run(bundle_copy, "train.yaml", datalist=str(train), output_dir=str(tmp_path / "out"), **options)
    write_patch_file(tmp_path / "testdataPatch_mouse.mat", **arrays)
    datalist = tmp_path / "lists" / "datalist.json"
    datalist.parent.mkdir()
    datalist.write_text(json.dumps({"test": [{"subject": "mouse", "image": "../testdataPatch_mouse.mat"}]}))
    bundle_run(bundle_copy, "inference.yaml", "evaluate.yaml", datalist=str(datalist), output_dir=str(tmp_path / "scored"))
    scores = json.loads((tmp_path / "scored" / "scores.json").read_text())["mouse"]
    assert scores["voxels"] == int((arrays["fa"][1, 1, 0] > 0).sum())
    assert scores["ssim"] is None  # patches have no neighbours to compare
    assert 0 <= scores["r2"] <= 1


def test_volumes_and_patches_train_to_the_same_loss(tmp_path, volumes, arrays):
    """The same voxels under the same scaling, once from the volumes and once from the file cut from them."""
    path = write_patch_file(tmp_path / "traindata.mat", **arrays)
    loaded = of(path, need_target=True)
    x, y, z = (index.ravel() for index in np.meshgrid(range(1, 15), [1, 3, 4], range(1, 13), indexing="ij"))
    order = np.lexsort((z, x, y))
    from_volumes = np.column_stack([np.zeros(len(x), np.int64), x[order], y[order], z[order]])
    from_file = np.column_stack([np.zeros(len(x), np.int64), np.ones(len(x), np.int64), np.arange(len(x)), np.ones(len(x), np.int64)])
    scaling = PublishedScaling(255.0)
    factors = [scaling.coefficients(replace(volumes, largest=1000.0), volumes.mask)]
    one = PatchDataset([volumes], from_volumes, factors, 255.0).batch(torch.arange(len(x)))
    other = PatchDataset([loaded], from_file, factors, 255.0).batch(torch.arange(len(x)))
    assert torch.equal(one["image"], other["image"])
    assert torch.equal(one["label"], other["label"])


def broken(arrays, **changes):
    changed = {**arrays, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def with_nan(values):
    values = values.copy()
    values[0, 2, 5, 3] = np.nan
    return values


def without_channel(values):
    values = values.copy()
    values[:, :, 64] = 0
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"data": None}, "expected the variable data, found only fa, label"),
        (lambda a: {"label": None}, "expected the variable label, found only data, fa"),
        (lambda a: {"data": a["data"][:, :, :42]}, "42"),
        (lambda a: {"data": a["data"][:2]}, r"data: expected 3 x 3 x N x N numbers, found 2 x 3 x 67 x 504"),
        (lambda a: {"label": a["label"][..., :-1]}, r"label: expected 3 x 3 x 1 x 504 numbers, found 3 x 3 x 1 x 503"),
        (lambda a: {"data": with_nan(a["data"])}, r"data: expected numbers, found 1 NaN or Inf .* --nan zero"),
        (lambda a: {"data": without_channel(a["data"])}, "expected signal in channel t2, found only zeros"),
        (lambda a: {"fa": np.zeros_like(a["fa"])}, "expected patches with fa > 0 at the centre, found no such patch"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path, arrays, change, message):
    path = write_patch_file(tmp_path / "patches.mat", **broken(arrays, **change(arrays)))
    with pytest.raises(SubjectError, match=message):
        of(path, need_target=True)


def test_nan_become_zero_where_asked_for(tmp_path, arrays):
    path = write_patch_file(tmp_path / "patches.mat", **{**arrays, "data": with_nan(arrays["data"])})
    loaded = of(path, nan="zero")
    assert loaded.image[0, 3, 2, 5] == 0
    assert np.isfinite(loaded.image).all()


def test_what_patch_files_cannot_do_is_refused(tmp_path, arrays, volumes, study, bundle_copy):
    path = write_patch_file(tmp_path / "patches.mat", **arrays)
    patches = Subject("patches", (path,))
    with pytest.raises(OptionError, match="patch_axes: expected two axes, since patch files hold patches of a plane, found"):
        load_subject(patches, MRH_NET, ReadingOptions(patch=PatchGeometry(axes=(0, 1, 2))))
    with pytest.raises(SubjectError, match="expected no `slices`"):
        load_subject(Subject("patches", (path,), slices=((0, 3),)), MRH_NET)
    with pytest.raises(SubjectError, match="expected one patch file, like the other subjects, found volumes"):
        load_subjects([patches, find_subject(study / "subject01")], MRH_NET)
    for content in (b"", b"no MATLAB file" * 20, path.read_bytes()[:4000]):
        (tmp_path / "bad.mat").write_bytes(content)
        with pytest.raises(SubjectError, match=r"bad\.mat"):
            of(tmp_path / "bad.mat")
    with pytest.raises(SubjectError, match="absent.mat: expected a patch file, found no such file"):
        of(tmp_path / "absent.mat")
    with pytest.raises(OutputError, match=r"expected a name ending in \.mat, because patches lie on no grid"):
        predict(bundle_copy, path, tmp_path / "out.nii.gz")


def test_a_full_disk_is_said_before_it_is_written_to(tmp_path, arrays, monkeypatch):
    path = write_patch_file(tmp_path / "patches.mat", **arrays)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(
        OutputError, match=r"expected space for .* GiB, found No space left on device; set TMPDIR to a folder with more space"
    ):
        of(path)


def test_errors_reach_the_bundles_user_as_one_cause(tmp_path, bundle_copy, arrays):
    path = write_patch_file(tmp_path / "patches.mat", data=arrays["data"])
    with pytest.raises(RuntimeError) as raised:
        bundle_run(bundle_copy, "train.yaml", datalist=str(path), output_dir=str(tmp_path / "out"), **SMALL)
    cause = root_cause(raised.value)
    assert isinstance(cause, MRHError)
    assert "patches.mat: expected the variable label" in str(cause)
