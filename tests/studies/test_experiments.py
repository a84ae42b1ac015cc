import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from mrh_monai.devices import choose_device
from mrh_monai.errors import DatalistError, OptionError, SubjectError
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.phantom.writing import write_phantom
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.studies import experiments as studies, image_experiments
from mrh_monai.studies.experiments import StudyOptions
from mrh_monai.studies.random_displacement import misregistered
from mrh_monai.studies.study_networks import TrainingEffort, load_study_data, score_study_network, train_study_network
from mrh_monai.studies.training_experiments import StudyEffort, UniformPatches

TINY = StudyEffort(
    seeds=2, steps=2, residual_blocks=1, patches=(50, 100), depths=(0, 1), widths=(3, 5), displacements=(0.0, 1.0)
)  # fmt: skip
SHAPE = (40, 3, 40)

pytestmark = pytest.mark.analysis


@pytest.fixture(scope="module", autouse=True)
def small():
    """Tiny efforts on four tiny brains, of which two train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "QUICK", TINY)
        patch.setattr(studies, "PHANTOM_SUBJECTS", 4)
        patch.setattr(studies, "write_phantom", partial(write_phantom, shape=SHAPE))
        patch.setattr(image_experiments, "PATCHES", 120)
        yield


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return studies._phantom(tmp_path_factory.mktemp("phantom"), "af")


@pytest.fixture(scope="module")
def data(phantom):
    return load_study_data(phantom, MRH_NET, margin=2)


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    """A study by its name, run once: its rows as the CSV has them, its paragraph, its picture."""
    done = {}

    def once(name):
        if name not in done:
            out = tmp_path_factory.mktemp("study")
            found, files = studies.run_study(name, out, StudyOptions(phantom))
            assert [path.name for path in files] == [f"{name}.csv", f"{name}.png", f"{name}.txt"]
            assert sorted(out.glob("[!.]*")) == sorted(files)
            rows = list(csv.DictReader(files[0].read_text().splitlines()))
            text = files[2].read_text()
            assert text == found.paragraph + "\n"
            assert len(rows) == len(found.rows)
            picture = matplotlib.image.imread(files[1])
            assert min(picture.shape[:2]) > 150
            assert picture[..., :3].std() > 0.02
            done[name] = [{key: number(value) for key, value in row.items()} for row in rows], text
        return done[name]

    return once


def number(text):
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return text


def mean(rows, key, **fixed):
    chosen = [row[key] for row in rows if all(row[name] == value for name, value in fixed.items())]
    assert chosen
    return np.mean(chosen)


def test_training_size_says_what_more_subjects_and_patches_bring(run):
    rows, text = run("training-size")
    assert [(r["subjects"], r["patches"], r["repetition"]) for r in rows] == [(n, p, s) for n in (1, 2) for p in (50, 100) for s in (0, 1)]
    few, many = mean(rows, "r2", subjects=1, patches=50), mean(rows, "r2", subjects=2, patches=100)
    one, least = mean(rows, "r2", subjects=1, patches=100), mean(rows, "r2", subjects=2, patches=50)
    assert f"R2 on subject04 went from {few:.3f} with 50 patches of one subject to {many:.3f} with 100 of 2." in text
    assert f"With 2 subjects, 2 times the patches changed it by {many - least:+.3f}; with 100 patches, 2 subjects instead of one by" in text
    assert f"instead of one by {many - one:+.3f}. All networks had 1 residual blocks and 2 steps." in text


def test_training_size_begins_each_repetition_with_another_subject(run, data):
    rows, _ = run("training-size")
    for repetition in (0, 1):
        effort = TrainingEffort(patches=50, steps=2, residual_blocks=1, seed=repetition)
        expected = score_study_network(train_study_network([data.training[repetition]], MRH_NET, effort), data.test)
        found = next(row for row in rows if (row["subjects"], row["patches"], row["repetition"]) == (1, 50, repetition))
        assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_depth_names_the_number_of_blocks_with_the_lowest_error(run):
    rows, text = run("depth")
    assert {(row["residual_blocks"], row["repetition"]) for row in rows} == {(b, s) for b in (0, 1) for s in (0, 1)}
    errors = [mean(rows, "rmse", residual_blocks=blocks) for blocks in (0, 1)]
    for blocks in (0, 1):
        assert f"{blocks} (RMSE {errors[blocks]:.3g}, SSIM {mean(rows, 'ssim', residual_blocks=blocks):.3f})" in text
    assert f"Of these, {int(np.argmin(errors))} gave the lowest RMSE after 2 steps on 100 patches" in text


def test_patch_size_is_varied_together_with_misregistration(run, data):
    rows, text = run("patch-size")
    assert {(row["width"], row["displacement_mm"]) for row in rows} == {(w, d) for w in (3, 5) for d in (0.0, 0.0625)}
    ends = {(w, d): mean(rows, "r2", width=w, displacement_mm=d) for w in (3, 5) for d in (0.0, 0.0625)}
    assert "misregistered by 62 um (root mean square" in text
    for width in (3, 5):
        assert f"from {ends[width, 0.0]:.3f} to {ends[width, 0.0625]:.3f} with patches of {width} x {width} voxels" in text
    best = max((3, 5), key=lambda width: ends[width, 0.0625])
    assert f"At that misregistration patches of {best} x {best} did best." in text
    moved = [misregistered(subject, 0.0625, 1000 + index) for index, subject in enumerate(data.training)]
    effort = TrainingEffort(patches=100, steps=2, residual_blocks=1, seed=1, batch_size=round(256 * 9 / 25))
    expected = score_study_network(train_study_network(moved, MRH_NET, effort, PatchGeometry(radius=2)), data.test)
    found = next(row for row in rows if (row["width"], row["displacement_mm"], row["repetition"]) == (5, 0.0625, 1))
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_misregistration_is_the_same_experiment():
    assert studies.STUDIES["misregistration"] is studies.STUDIES["patch-size"]


def test_uniform_patches_say_what_the_neighbours_bring(run):
    rows, text = run("uniform-patch")
    names = ["trained and tested on whole patches", "trained on whole, tested on uniform", "trained and tested on uniform"]
    assert [row["patches"] for row in rows] == 2 * names
    whole, shown, uniform = (mean(rows, "r2", patches=name) for name in names)
    assert len({whole, shown, uniform}) == 3
    assert f"was {whole:.3f} with whole patches, {shown:.3f} where that network was shown the centre" in text
    assert f"and {uniform:.3f} for a network trained on such patches. So {whole - uniform:+.3f} of R2 comes from" in text


def test_a_uniform_patch_is_its_centre_nine_times():
    torch.manual_seed(0)
    network = MRHNet(4, 8, 1)
    patches = torch.randn(5, 4, 3, 3)
    by_hand = patches.clone()
    for row in range(3):
        for column in range(3):
            by_hand[:, :, row, column] = patches[:, :, 1, 1]
    torch.testing.assert_close(UniformPatches(network)(patches), network(by_hand))
    changed = patches.clone()
    changed[:, :, 0, 2] += 1
    torch.testing.assert_close(UniformPatches(network)(changed), UniformPatches(network)(patches))
    assert not torch.allclose(network(changed), network(patches))


def test_features_lay_alike_patches_together(run, data):
    rows, text = run("features")
    assert len(rows) == 120
    subject = data.test[0]
    for row in rows:
        x, y, z = (int(row[axis]) for axis in "xyz")
        assert subject.mask[x, y, z]
        assert row["target"] == pytest.approx(subject.target[x, y, z], abs=1e-2)
    for space in ("images", "network"):
        places = np.array([[row[f"{space}_tsne1"], row[f"{space}_tsne2"]] for row in rows])
        target = np.array([row["target"] for row in rows])
        distance = np.linalg.norm(places[:, None] - places, axis=-1)
        np.fill_diagonal(distance, np.inf)
        near = target[np.argsort(distance, 1)[:, :10]].mean(1)
        assert f"{np.corrcoef(near, target)[0, 1] ** 2:.3f} where" in text
    assert "t-SNE of 120 patches of subject04: the 10 nearest neighbours" in text


def test_resolution_names_the_median_of_every_image(run):
    rows, text = run("resolution")
    images = ["t2", "mt_on", "mt_off", "dwi2000_dir_01", "stain", "prediction"]
    assert list(dict.fromkeys(row["image"] for row in rows)) == images
    for image in images:
        found = np.array([row["um"] for row in rows if row["image"] == image])
        expected = f"{image} {np.nanmedian(found):.0f} um" if np.isfinite(found).any() else f"{image} not found"
        assert expected in text
    assert np.isfinite([row["um"] for row in rows]).any()
    assert min(row["um"] for row in rows if np.isfinite(row["um"])) >= 125
    assert "No resolution can be finer than two voxels, 125 um." in text


def test_the_same_seed_finds_the_same(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "QUICK", replace(TINY, seeds=1, depths=(0,)))
    first, again, other = (studies.run_study("depth", tmp_path, StudyOptions(phantom, seed=seed))[0].rows[0]["rmse"] for seed in (0, 0, 7))
    assert again == pytest.approx(first, rel=1e-6)
    assert other != pytest.approx(first, rel=1e-3)


def test_the_digital_brain_is_the_default_and_is_not_kept(monkeypatch, tmp_path, capsys):
    seen = {}

    def spy(data, effort, seed, progress):
        seen.update(data=data, effort=effort, seed=seed)
        return studies.Finding([{"a": float("nan"), "b": 1}], "found", lambda path: path.write_bytes(b"picture"))

    monkeypatch.setitem(studies.STUDIES, "depth", spy)
    _, files = studies.run_study("depth", tmp_path / "new" / "out", StudyOptions(stain="mbp", seed=4))
    assert ([s.name for s in seen["data"].training], seen["data"].tested_on, seen["seed"]) == (["subject01", "subject02"], "subject04", 4)
    assert seen["effort"] == replace(TINY, device=choose_device())
    assert [path.read_text() for path in files] == ["a,b\n,1\n", "picture", "found\n"]
    mbp = seen["data"].test[0].target
    studies.run_study("depth", tmp_path, StudyOptions(stain="af", full=True))
    assert seen["effort"] == replace(studies.FULL, device=choose_device())
    assert seen["data"].test[0].margin == 4
    assert not np.array_equal(mbp, seen["data"].test[0].target)


@pytest.fixture
def one_subject(phantom, tmp_path):
    lists = json.loads(phantom.read_text())
    for key in ("training", "test"):
        for entry in lists[key]:
            entry |= {name: str(phantom.parent / entry[name]) for name in ("mask", "fa", "target")}
            entry["image"] = [str(phantom.parent / name) for name in entry["image"]]
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"training": lists["training"][:1], "test": lists["test"]}))
    return path


def test_training_size_needs_two_subjects(one_subject, tmp_path):
    with pytest.raises(SubjectError, match="study training-size: expected at least two subjects to train on, found 1; add subjects to"):
        studies.run_study("training-size", tmp_path / "out", StudyOptions(one_subject))
    assert list((tmp_path / "out").iterdir()) == []


def test_no_test_subject_is_refused(phantom, one_subject, tmp_path):
    lists = json.loads(one_subject.read_text())
    one_subject.write_text(json.dumps(lists | {"test": []}))
    with pytest.raises(DatalistError, match="expected subjects under 'test', found no subjects in this section"):
        studies.run_study("depth", tmp_path / "out", StudyOptions(one_subject))


def test_too_coarse_a_grid_has_no_resolution(study, tmp_path):
    with pytest.raises(SubjectError, match="resolution: expected a square of 24 voxels within the mask"):
        studies.run_study("resolution", tmp_path / "out", StudyOptions(study / "datalist.json"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dept", {}, "study: expected one of training-size, depth, .*resolution, found 'dept'; did you mean depth"),
        ("trainingsize", {}, "found 'trainingsize'; did you mean training-size"),
        ("xyz", {}, "found 'xyz'; choose one of them"),
        ("depth", {"stain": "gfap"}, "stain: expected af or nf or mbp, found 'gfap'; choose a stain of the digital brain"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_written(name, options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        studies.run_study(name, tmp_path / "out", StudyOptions(**options))
    assert not (tmp_path / "out").exists()


def test_mrh_study_prints_what_was_found_and_where_it_is(call, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "QUICK", replace(TINY, seeds=1))
    monkeypatch.chdir(tmp_path)
    assert call("study", "depth", "--datalist", phantom, "--device", "cpu")[0] == 0
    assert sorted(path.name for path in Path("studies").glob("[!.]*")) == ["depth.csv", "depth.png", "depth.txt"]
    status, out, _ = call("study", "depth", "-o", tmp_path / "out", "--datalist", phantom, "--device", "cpu")
    text, *files = out.strip().split("\n\n")
    assert (status, text) == (0, (tmp_path / "out" / "depth.txt").read_text().strip())
    assert files[0].splitlines() == [str(tmp_path / "out" / f"depth.{ending}") for ending in ("csv", "png", "txt")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dept"], "error: study: expected one of training-size"),
        (["training-size", "--datalist", "{one}"], "error: study training-size: expected at least two subjects to train on, found 1"),
        (["depth", "--stain", "x"], "error: --stain: expected af or nf or mbp"),
        (["depth", "--datalist", "nowhere.json"], "nowhere.json: expected a datalist (JSON file), found no such file"),
        (["depth", "--device", "gpu"], "device: expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_study_that_cannot_be_is_one_sentence(call, one_subject, tmp_path, words, sentence):
    status, _, err = call("study", *(word.format(one=one_subject) for word in words), "-o", tmp_path / "out")
    assert status == 1
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
