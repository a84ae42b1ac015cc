import pytest

from mrh_monai.contributions import best_images
from mrh_monai.contributions.best_images import check_counts, retrain_on_best_images, scan_minutes
from mrh_monai.errors import OptionError
from mrh_monai.protocol.channel import Channel
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.studies.study_networks import TrainingEffort, load_study_data, score_study_network, train_study_network

EFFORT = TrainingEffort(patches=200, steps=8, residual_blocks=0)

pytestmark = pytest.mark.analysis


@pytest.fixture(scope="module")
def data(study):
    return load_study_data(study / "datalist.json", MRH_NET)


def test_scan_time_of_mrh_nets_images():
    assert scan_minutes(MRH_NET, range(67)) == pytest.approx(2 * 32 * 9.984 + 3 * 62.4)
    assert scan_minutes(MRH_NET, [0, 40, 64]) == pytest.approx(2 * 9.984 + 62.4)
    assert scan_minutes(MRH_NET, []) == 0


def test_one_unknown_time_leaves_the_sum_unknown():
    protocol = MRProtocol((Channel("a", minutes=3), Channel("b"), Channel("c", minutes=4.5)))
    assert scan_minutes(protocol, [0, 2]) == 7.5
    assert scan_minutes(protocol, [0, 1, 2]) is None


@pytest.mark.parametrize("wrong", [0, -1, 68])
def test_subsets_have_between_one_and_all_images(wrong):
    check_counts([1, 67], 67)
    check_counts([], 67)
    with pytest.raises(
        OptionError, match=f"retrain_top: expected numbers from 1 to 67, the number of images, found {wrong}; give other numbers"
    ):
        check_counts([4, wrong], 67)


def test_networks_get_the_most_important_images_and_all_of_them(data, monkeypatch):
    seen = []

    def spy(training, protocol, effort):
        seen.append((protocol.names, training[0].image.shape[-1], effort))
        return train_study_network(training, protocol, effort)

    monkeypatch.setattr(best_images, "train_study_network", spy)
    ranking = [66, 2, 64, *(index for index in range(67) if index not in (66, 2, 64))]
    rows = retrain_on_best_images(data, ranking, [3, 1, 3], EFFORT)
    assert [row["images"] for row in rows] == [1, 3, 67]
    names = MRH_NET.names
    assert [part[0] for part in seen] == [["mt_off"], [names[2], "t2", "mt_off"], names]
    assert [part[1] for part in seen] == [1, 3, 67]
    whole = 2 * 32 * 9.984 + 3 * 62.4
    assert [row["minutes"] for row in rows] == pytest.approx([62.4, 9.984 + 2 * 62.4, whole])
    assert [row["minutes_saved"] for row in rows] == pytest.approx([whole - 62.4, whole - 9.984 - 2 * 62.4, 0])
    for row, chosen in zip(rows, ([66], [2, 64, 66], range(67)), strict=True):
        subset = data.with_channels(chosen)
        expected = score_study_network(train_study_network(subset.training, subset.protocol, EFFORT), subset.test)
        assert {name: row[name] for name in ("r2", "rmse", "auc")} == pytest.approx(expected)


def test_unknown_minutes_stay_unknown(data):
    four = data.with_channels([0, 64, 65, 66])
    unknown = type(four)(MRProtocol(tuple(Channel(name) for name in "abcd")), four.training, four.test)
    half = MRProtocol((Channel("a", minutes=2.0), *unknown.protocol.channels[1:]))
    rows = retrain_on_best_images(type(four)(half, four.training, four.test), [0, 1, 2, 3], [1], EFFORT)
    assert [(row["images"], row["minutes"], row["minutes_saved"]) for row in rows] == [(1, 2.0, None), (4, None, None)]


def test_the_network_on_all_images_is_trained_once(data):
    four = data.with_channels([0, 64, 65, 66])
    assert [row["images"] for row in retrain_on_best_images(four, [3, 2, 1, 0], [4, 2], EFFORT)] == [2, 4]


def test_too_many_are_refused_before_anything_is_trained(data, monkeypatch):
    monkeypatch.setattr(best_images, "train_study_network", None)
    with pytest.raises(OptionError, match="found 68"):
        retrain_on_best_images(data, range(67), [4, 68], EFFORT)
