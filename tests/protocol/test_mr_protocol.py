import json

import numpy as np
import pytest

from helpers.paths import BUNDLE
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.protocol.channel import Channel
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET


def test_bundle_metadata_names_the_same_channels():
    assert MRProtocol.from_metadata(BUNDLE / "configs" / "metadata.json") == MRH_NET
    described = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["network_data_format"]["inputs"]["image"]["channel_def"]
    assert described == {str(index): channel.description for index, channel in enumerate(MRH_NET)}


def test_rows_are_inverse():
    assert MRProtocol(tuple(Channel.from_row(row) for row in MRH_NET.to_rows())) == MRH_NET


def test_wrong_protocols_are_refused(tmp_path):
    with pytest.raises(OptionError, match="unique name for every channel, found 'qa' twice"):
        MRProtocol((Channel("qa"), Channel("qa")))
    with pytest.raises(OptionError, match="at least one channel"):
        MRProtocol(())
    with pytest.raises(OptionError, match=r"expected a bundle folder, found a folder without configs/metadata\.json; name the root folder"):
        MRProtocol.from_metadata(tmp_path / "configs" / "metadata.json")
    (tmp_path / "x.zip").touch()
    with pytest.raises(OptionError, match=r"x\.zip: expected a bundle folder, found a zip file; unpack the zip first with `mrh unpack`"):
        MRProtocol.from_metadata(tmp_path / "x.zip" / "configs" / "metadata.json")
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(OptionError, match="bundle metadata with a list `channels`"):
        MRProtocol.from_metadata(tmp_path / "metadata.json")


def test_wrong_number_of_channels_is_named():
    with pytest.raises(SubjectError, match=r"s1: expected 67 channels \(dwi2000_b0_01 to mt_off\), found 66 in a.img"):
        MRH_NET.check_count(66, "s1", ["a.img"])


def test_a_contrast_counts_as_one_image_however_many_images_it_is_made_of():
    weights = np.array(MRH_NET.weights)
    names = np.array(MRH_NET.names)
    for kind, count in (("dwi2000_dir", 30), ("dwi5000_dir", 30), ("_b0_", 4), ("t2", 1), ("mt_on", 1), ("mt_off", 1)):
        chosen = np.char.find(names, kind) >= 0
        assert chosen.sum() == count
        np.testing.assert_allclose((weights[chosen] ** 2).sum(), 1)


def test_a_shell_ends_where_b_values_leap():
    rows = [("a", 1000.0, (1.0, 0.0, 0.0)), ("b", 1060.0, (0.0, 1.0, 0.0)), ("c", 2000.0, (1.0, 0.0, 0.0)), ("trace", 1000.0, None)]
    np.testing.assert_allclose(MRProtocol(tuple(Channel(*row) for row in rows)).weights, [2**-0.5, 2**-0.5, 1, 1])


def test_a_contrast_that_is_named_counts_as_one():
    rows = [("a", 1000.0, (1.0, 0.0, 0.0), None, "pgse"), ("b", None, None, None, "pgse"), ("c", 1000.0, (1.0, 0.0, 0.0), None, "ogse")]
    np.testing.assert_allclose(MRProtocol(tuple(Channel(*row) for row in rows)).weights, [2**-0.5, 2**-0.5, 1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name: a, b_value: x}", "'a', b_value: expected a number of s/mm.2, 0 or more, found 'x'"),
        ("{name: a, b_value: -5}", "b_value: .* found -5"),
        ("{name: a, direction: [1, 0]}", "direction: expected three numbers, found"),
        ("{name: a, direction: xyz}", "direction: expected three numbers, found"),
        ("{name: a, direction: [0, 0, 0]}", "direction: expected three numbers that form a vector longer than 0.001"),
        ("{name: a, minutes: 0}", "minutes: expected a number above 0, found 0"),
        ("{name: 'a\"b'}", "name: expected one line of text without quotes"),
        ("{name: 3}", "name: expected one line of text"),
        ("{name: a, contrast: [b]}", "contrast: expected one line of text"),
    ],
)
def test_a_channel_that_cannot_be_is_named_with_its_file(tmp_path, row, message):
    path = tmp_path / "protocol.yaml"
    path.write_text(f"channels: [{row}]")
    with pytest.raises(OptionError, match=rf"protocol\.yaml, channel .*{message}"):
        MRProtocol.from_yaml(path)


def test_groups_come_in_the_order_of_their_first_channels():
    rows = [
        ("t2", None, None, None, None), ("x1", 1000.0, (1, 0, 0), None, None), ("b0", 0.0, None, None, None),
        ("pair_a", 900.0, (0, 1, 0), None, "pair"),
        ("trace", 1000.0, None, None, None), ("y1", 1010.0, (0, 1, 0), None, None), ("b0_again", 43.5, (0, 0, 1), None, None),
        ("pair_b", None, None, None, "pair"), ("x3", 3000.0, (1, 0, 0), None, None),
    ]  # fmt: skip
    found = [(group.name, group.kind, group.indices) for group in MRProtocol(tuple(Channel(*row) for row in rows)).groups]
    assert found == [
        ("t2", "single", (0,)), ("b = 1000", "shell", (1, 5)), ("unweighted", "unweighted", (2, 6)), ("pair", "contrast", (3, 7)),
        ("trace", "single", (4,)), ("b = 3000", "shell", (8,)),
    ]  # fmt: skip


def test_every_channel_is_in_one_group():
    for protocol in (MRH_NET, MRProtocol((Channel("a"), Channel("b", 0), Channel("c", 99, (1, 0, 0)), Channel("d", 100, (1, 0, 0))))):
        assert sorted(index for group in protocol.groups for index in group.indices) == list(range(len(protocol)))


def test_two_shells_that_round_to_the_same_value_stay_two_groups():
    channels = [Channel(f"c{b}{i}", b, d) for b in (110, 130) for i, d in enumerate(((1, 0, 0), (0, 1, 0)))]
    protocol = MRProtocol(tuple(channels))
    assert [(group.name, group.indices) for group in protocol.groups] == [("b = 100", (0, 1)), ("b = 130", (2, 3))]
    assert protocol.weights == [2**-0.5] * 4


def test_a_contrast_named_like_a_channel_is_another_group():
    protocol = MRProtocol((Channel("t2"), Channel("x", contrast="t2"), Channel("y", contrast="unweighted"), Channel("z", 0)))
    assert [(group.name, group.kind) for group in protocol.groups] == [
        ("t2", "single"), ("t2", "contrast"), ("unweighted", "contrast"), ("unweighted", "unweighted"),
    ]  # fmt: skip


def test_rows_files_and_bundles_hold_the_same_protocol(tmp_path):
    path = tmp_path / "protocol.yaml"
    path.write_text("channels: [{name: qa}, {name: iso, b_value: 1000, direction: [1, 0, 0], minutes: 3, contrast: dwi}]")
    protocol = MRProtocol((Channel("qa"), Channel("iso", 1000, (1, 0, 0), 3, "dwi")))
    assert MRProtocol.from_yaml(path) == protocol
    assert MRProtocol.from_rows(protocol.to_rows()) == protocol
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    (tmp_path / "bundle" / "configs" / "metadata.json").write_text(json.dumps({"channels": protocol.to_rows()}))
    assert MRProtocol.from_bundle(tmp_path / "bundle") == protocol
    assert MRProtocol.from_bundle(str(BUNDLE)) == MRH_NET


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channels: [{name: a, bvalue: 3}]", r"found ValueError \(the keys \['bvalue'\]\); write `channels: \[\{name: qa\}"),
        ("channels: [{b_value: 3}]", "a YAML file with a list `channels`, found no entry 'name'"),
        ("channels: a", "a YAML file with a list `channels`, found"),
        ("channels: [", "a YAML file with a list `channels`, found ParserError"),
        ("- name: a", "a YAML file with a list `channels`, found TypeError"),
        ("channels: []", "protocol.yaml, protocol: expected at least one channel, found an empty list"),
        ("channels: [{name: a}, {name: a}]", "protocol.yaml, protocol: expected a unique name for every channel, found 'a' twice"),
        ("channels: [{name: a, direction: 5}]", "a YAML file with a list `channels`, found TypeError"),
    ],
)
def test_files_that_list_no_channels_are_refused(tmp_path, text, message):
    path = tmp_path / "protocol.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        MRProtocol.from_yaml(path)


def test_missing_files_and_damaged_metadata_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"absent\.yaml: expected a YAML file with a list `channels`, found no such file or directory"):
        MRProtocol.from_yaml(tmp_path / "absent.yaml")
    with pytest.raises(OptionError, match="absent: expected a bundle folder, found no such folder; name the root folder of a bundle"):
        MRProtocol.from_bundle(tmp_path / "absent")
    (tmp_path / "configs").mkdir()
    for text in ("{", '{"channels": 3}', '{"channels": [{}]}', "[]"):
        (tmp_path / "configs" / "metadata.json").write_text(text)
        with pytest.raises(OptionError, match=r"metadata\.json: expected bundle metadata with a list `channels`, found"):
            MRProtocol.from_bundle(tmp_path)
    (tmp_path / "configs" / "metadata.json").write_text('{"channels": [{"name": "a", "b_value": -1}]}')
    with pytest.raises(OptionError, match=r"metadata\.json, channel 'a', b_value: expected a number of s/mm.2, 0 or more, found -1"):
        MRProtocol.from_bundle(tmp_path)
