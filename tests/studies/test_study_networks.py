import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.patch_file_writing import write_patch_file
from mrh_monai.errors import DatalistError, OptionError, SubjectError
from mrh_monai.evaluation.detection import auc, structures
from mrh_monai.evaluation.scores import r2, rmse
from mrh_monai.network.folded_network import FoldedMRHNet
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.studies.study_networks import TrainingEffort, load_study_data, score_study_network, train_study_network

QUICK = TrainingEffort(patches=600, steps=60, residual_blocks=1, batch_size=64)

pytestmark = pytest.mark.analysis


@pytest.fixture(scope="module")
def data(study):
    return load_study_data(study / "datalist.json", MRH_NET)


@pytest.fixture(scope="module")
def few_channels(data):
    return data.with_channels([0, 1, 65, 66])


@pytest.fixture(scope="module")
def trained(few_channels):
    return train_study_network(few_channels.training, few_channels.protocol, QUICK)


def test_a_datalist_is_loaded_with_its_targets(data):
    assert ([s.name for s in data.training], [s.name for s in data.test]) == (["subject01", "subject02"], ["subject04"])
    assert data.tested_on == "subject04"
    assert all(s.target is not None and s.margin == 1 for s in (*data.training, *data.test))
    many = replace(data, test=data.test * 4)
    assert (replace(data, test=data.test * 3).tested_on, many.tested_on) == ("subject04, subject04, subject04", "4 subjects")


def test_another_section_and_a_wider_margin(study):
    found = load_study_data(study / "datalist.json", MRH_NET, section="validation", margin=2)
    assert ([s.name for s in found.test], found.test[0].margin) == (["subject03"], 2)


def test_some_channels_of_all_subjects(data, few_channels):
    assert few_channels.protocol.names == [MRH_NET.names[index] for index in (0, 1, 65, 66)]
    for before, after in zip((*data.training, *data.test), (*few_channels.training, *few_channels.test), strict=True):
        np.testing.assert_array_equal(after.image, before.image[..., [0, 1, 65, 66]])
        assert after.padded.flags.c_contiguous
        np.testing.assert_array_equal(after.target, before.target)


def test_the_order_of_channels_is_the_asked_one(data):
    turned = data.with_channels([66, 2])
    assert turned.protocol.names == ["mt_off", MRH_NET.names[2]]
    np.testing.assert_array_equal(turned.test[0].image[..., 0], data.test[0].image[..., 66])


def test_a_small_network_learns_a_simple_stain(trained, few_channels):
    subject = few_channels.test[0]
    target = subject.target[subject.mask].astype(float)
    scores = score_study_network(trained, few_channels.test)
    mean = np.mean([s.target[s.mask].mean() for s in few_channels.training])
    assert scores["rmse"] < 0.5 * rmse(np.full_like(target, mean), target)
    assert scores["r2"] > 0.8
    assert scores["auc"] > 0.9


def test_more_steps_are_better_than_one(trained, few_channels):
    first = train_study_network(few_channels.training, few_channels.protocol, replace(QUICK, steps=1))
    assert score_study_network(first, few_channels.test)["rmse"] > 2 * score_study_network(trained, few_channels.test)["rmse"]


def test_scores_are_those_of_predictions_by_hand(trained, few_channels):
    subject = few_channels.test[0]
    torn = replace(subject, name="torn", target_mask=np.random.default_rng(1).random(subject.mask.shape) > 0.4)
    expected = []
    for each in (subject, torn):
        inside = each.scored
        gain, offset = trained.scaling.coefficients(each, each.mask)
        patches = [each.padded[x : x + 3, y + 1, z : z + 3] for x, y, z in np.argwhere(inside)]
        scaled = torch.from_numpy(np.stack(patches).astype(np.float32) * gain + offset).permute(0, 3, 1, 2)
        with torch.inference_mode():
            prediction = MRHNet.forward(trained.network, scaled)[:, 0, 1, 1].numpy() * trained.scaling.target_max
        target = each.target[inside].astype(float)
        np.testing.assert_allclose(trained.predict(each, inside)[inside], prediction, rtol=1e-4, atol=1e-3)
        expected.append((r2(prediction, target), rmse(prediction, target), auc(prediction, structures(target)[0])))
    found = score_study_network(trained, [subject, torn])
    assert list(found) == ["r2", "rmse", "auc"]
    assert list(found.values()) == pytest.approx(np.mean(expected, 0), rel=1e-4)
    assert expected[0][1] != pytest.approx(expected[1][1], rel=1e-3)


def test_some_voxels_stand_for_all(trained, few_channels):
    whole, some, again = (score_study_network(trained, few_channels.test, voxels) for voxels in (20_000, 200, 200))
    assert some == again != whole
    assert some["rmse"] == pytest.approx(whole["rmse"], rel=0.3)


def test_nothing_is_predicted_outside_the_mask(trained, few_channels):
    subject = few_channels.test[0]
    predicted = trained.predict(subject, subject.mask)
    assert predicted.dtype == np.float32
    assert not predicted[~subject.mask].any()
    assert predicted[subject.mask].all()


def test_the_seed_alone_decides_on_the_weights(few_channels):
    first, again, other = (
        train_study_network(few_channels.training, few_channels.protocol, replace(QUICK, steps=3, seed=seed)) for seed in (0, 0, 1)
    )
    states = [trained.network.state_dict() for trained in (first, again, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    # The initial weights differ, not only what three steps made of them.
    weights = states[0]["conv1.weight"]
    assert (weights - states[2]["conv1.weight"]).std() > weights.std()
    assert first.scaling == other.scaling


def test_wider_patches(few_channels, study):
    data = load_study_data(study / "datalist.json", MRH_NET, margin=2).with_channels([0, 1, 65, 66])
    trained = train_study_network(data.training, data.protocol, replace(QUICK, patches=None, steps=30), PatchGeometry(radius=2))
    assert (trained.patch.radius, isinstance(trained.network, FoldedMRHNet)) == (2, False)
    assert score_study_network(trained, data.test)["r2"] > 0.5


def test_no_steps_are_refused():
    with pytest.raises(OptionError, match="steps: expected at least 1, found 0; give more steps"):
        replace(QUICK, steps=0)


def test_a_study_needs_training_subjects_test_subjects_and_volumes(study, tmp_path):
    lists = json.loads((study / "datalist.json").read_text())
    for key in ("training", "test"):
        for entry in lists[key]:
            entry |= {name: str(study / entry[name]) for name in ("mask", "fa", "target")}
            entry["image"] = [str(study / name) for name in entry["image"]]
        (tmp_path / f"no_{key}.json").write_text(json.dumps(lists | {key: []}))
        with pytest.raises(DatalistError, match=f"no_{key}.json: expected subjects under '{key}', found no subjects in this section"):
            load_study_data(tmp_path / f"no_{key}.json", MRH_NET)
    patches = write_patch_file(tmp_path / "patches.mat", XTest=np.ones((3, 3, 67, 5)), YTest=np.ones((3, 3, 1, 5)))
    lists["training"][1] = {"subject": "p", "image": [str(patches)]}
    (tmp_path / "patches.json").write_text(json.dumps(lists))
    with pytest.raises(SubjectError, match="patches.mat: expected volumes to study, found a patch file; list the volumes from which"):
        load_study_data(tmp_path / "patches.json", MRH_NET)
    with pytest.raises(SubjectError, match="patches.mat: expected volumes to study"):
        load_study_data(patches, MRH_NET)


def test_a_subject_without_a_target_is_refused(study, tmp_path):
    lists = json.loads((study / "datalist.json").read_text())
    for entry in (*lists["training"], *lists["test"]):
        entry |= {name: str(study / entry[name]) for name in ("mask", "fa", "target")}
        entry["image"] = [str(study / name) for name in entry["image"]]
    lists["test"][0].pop("target")
    (tmp_path / "d.json").write_text(json.dumps({key: lists[key] for key in ("training", "test")}))
    with pytest.raises(SubjectError, match="subject04: expected a target"):
        load_study_data(tmp_path / "d.json", MRH_NET)
