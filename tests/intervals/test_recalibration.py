import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.paths import BUNDLE
from helpers.random_weights import save_random_weights
from mrh_monai.data import ReadingOptions, load_subjects
from mrh_monai.errors import CheckpointError, DatalistError, OptionError, OutputError, SubjectError
from mrh_monai.inference import load_bundle
from mrh_monai.intervals.recalibration import recalibrate
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import load_network, save_checkpoint
from mrh_monai.network.sidecar import head_path, read_sidecar
from mrh_monai.protocol import MRH_NET
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects import Datalist


@pytest.fixture
def made(study, tmp_path):
    """A function that makes a bundle with random weights, which names subject01 and subject02 as its training subjects."""
    training = load_subjects(Datalist.read(study / "datalist.json").training, MRH_NET, ReadingOptions(need_target=True))
    scaling = RobustScaling.fit(training, weights=MRH_NET.weights)

    def make(multipliers=None):
        root = tmp_path / "mrh_af"
        shutil.copytree(BUNDLE, root, ignore=shutil.ignore_patterns("model*.*"))
        save_random_weights(root, scaling=scaling, multipliers=multipliers)
        return root

    return make


@pytest.fixture
def others(study):
    """The two subjects that trained nothing, in one section."""
    listed = Datalist.read(study / "datalist.json")
    return Datalist(test=(*listed.validation, *listed.test))


def test_a_head_is_measured_on_other_subjects(made, others):
    bundle = made(multipliers=(1.0,))
    weights = bundle / "models" / "model.pt"
    before = sha256(weights), sha256(head_path(weights))
    calibration = recalibrate(bundle, others, device="cpu")
    assert [each.name for each in calibration.subjects] == ["subject03", "subject04"]
    assert (sha256(weights), sha256(head_path(weights))) == before
    assert read_sidecar(weights).intervals == calibration
    # 90% of the voxels of the subject that needs the widest intervals lie in theirs.
    predictor, inside = load_bundle(bundle), []
    for subject in others.test:
        prediction = predictor.predict(subject)
        target = load_subjects([subject], MRH_NET, ReadingOptions(need_target=True))[0].target
        within = (target >= prediction.bounds.lower) & (target <= prediction.bounds.upper)
        inside.append(within[prediction.mask].mean())
    assert min(inside) == pytest.approx(0.9, abs=0.01)


def test_a_network_without_a_head_gets_one(made, others):
    bundle = made()
    weights = bundle / "models" / "model.pt"
    before = sha256(weights)
    assert load_bundle(bundle).predict(others.test[0]).bounds is None
    calibration = recalibrate(bundle, others, device="cpu")
    assert sha256(weights) == before
    assert calibration.sha256 == sha256(head_path(weights))
    bounds = load_bundle(bundle).predict(others.test[0]).bounds
    assert np.ptp(bounds.upper - bounds.lower) > 0
    again = recalibrate(bundle, replace(others, test=others.test[:1]), device="cpu")  # now there is a head
    assert (again.sha256, len(again.subjects)) == (calibration.sha256, 1)


def test_a_head_is_measured_on_a_subject_that_it_was_not_fitted_to(made, others, monkeypatch):
    fitted = []
    from mrh_monai.intervals import recalibration

    real = recalibration.fit_interval_head

    def spy(network, patches):
        fitted.append(len(set(patches.subject.tolist())))
        return real(network, patches)

    monkeypatch.setattr(recalibration, "fit_interval_head", spy)
    recalibrate(made(), others, device="cpu")
    assert fitted == [1, 1, 2]


def test_training_subjects_are_refused(made, study):
    with pytest.raises(
        DatalistError, match=r"datalist\.json: expected subjects that took no part .*, found .* subject01, subject02; leave t"
    ):
        recalibrate(made(), study / "datalist.json", "training")


def test_what_cannot_be_measured_is_said(made, study, others, tmp_path):
    bundle, untrained = made(), tmp_path / "untrained"
    shutil.copytree(BUNDLE, untrained, ignore=shutil.ignore_patterns("model*.*"))
    with pytest.raises(DatalistError, match="at least two subjects: one to fit an interval head to, and one to measure it on, found 1"):
        recalibrate(bundle, study / "datalist.json")
    content = json.loads((study / "datalist.json").read_text())
    for entry in content["test"]:
        entry.pop("target")
        entry["image"] = [str(study / name) for name in entry["image"]]
        entry["mask"], entry["fa"] = str(study / entry["mask"]), str(study / entry["fa"])
    (tmp_path / "no_stain.json").write_text(json.dumps({"test": content["test"]}))
    with pytest.raises(SubjectError, match="expected a target"):
        recalibrate(bundle, tmp_path / "no_stain.json")
    with pytest.raises(CheckpointError, match="expected trained weights"):
        recalibrate(untrained, others)
    with pytest.raises(DatalistError, match="sections training, validation, test"):
        recalibrate(bundle, others, "all")
    with pytest.raises(OptionError, match="device"):
        recalibrate(bundle, others, device="gpu")


def test_a_stain_of_another_scale_is_refused(made, others):
    bundle = made(multipliers=(1.0,))
    weights = bundle / "models" / "model.pt"
    network, sidecar = load_network(weights)
    save_checkpoint(weights, network.state_dict(), replace(sidecar, scaling=replace(sidecar.scaling, target_max=1.0), intervals=None))
    message = r"subject03: expected a stain on the scale of the network \(8-bit af, up to about 1\), found up to about .*; scale the stain"
    with pytest.raises(SubjectError, match=message):
        recalibrate(bundle, others, device="cpu")


@pytest.mark.parametrize("stated", [True, False])
def test_slices_lie_along_the_axis_of_the_bundle_or_the_stated_one(made, others, monkeypatch, stated):
    from mrh_monai.intervals import recalibration

    bundle, axes = made(multipliers=(1.0,)), []
    if not stated:
        config = bundle / "configs" / "inference.yaml"
        config.write_text(config.read_text().replace("coronal_axis: null", "coronal_axis: 2"))
    real = recalibration.load_subjects
    monkeypatch.setattr(
        recalibration, "load_subjects", lambda entries, *rest: axes.extend(e.coronal_axis for e in entries) or real(entries, *rest)
    )
    recalibrate(bundle, others, device="cpu", coronal_axis=2 if stated else None)
    assert axes == [2, 2]


def test_a_bundle_that_cannot_be_written_is_refused_before_any_work(made, others, monkeypatch):
    from mrh_monai.intervals import recalibration

    def full(folder):
        raise OutputError(folder, "a folder that can be written", "no permission", "change it")

    monkeypatch.setattr(recalibration, "writable_folder", full)
    monkeypatch.setattr(recalibration, "load_subjects", lambda *_: pytest.fail("subjects were read"))
    with pytest.raises(OutputError, match="no permission"):
        recalibrate(made(), others, device="cpu")
