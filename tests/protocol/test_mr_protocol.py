import json

import numpy as np
import pytest

from helpers.paths import BUNDLE
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.protocol.mr_protocol import MRH_NET, Channel, MRProtocol, channel_from


def test_the_67_channels_are_two_shells_then_t2_and_the_mt_pair():
    assert len(MRH_NET) == 67
    weighted = [[c.direction is not None for c in MRH_NET.channels[start : start + 32]] for start in (0, 32)]
    assert weighted == [[False] * 2 + [True] * 30] * 2
    assert MRH_NET.names[64:] == ["t2", "mt_on", "mt_off"]


@pytest.mark.parametrize(("start", "b_value"), [(2, 1900), (34, 4800)])
def test_directions_are_unit_and_b_values_near_the_shell(start, b_value):
    shell = MRH_NET.channels[start : start + 30]
    np.testing.assert_allclose(np.linalg.norm([c.direction for c in shell], axis=1), 1, atol=2e-4)
    assert all(abs(c.b_value - b_value) < 25 for c in shell)


def test_matches_the_published_method_files(shared):
    import importlib.util

    spec = importlib.util.spec_from_file_location("kit", shared / "mouse_kit" / "make_subjects.py")
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    for start, name in ((0, "dwi_b2000_method"), (32, "dwi_b5000_method")):
        b_values, directions = kit.shell(name)
        channels = MRH_NET.channels[start : start + 32]
        np.testing.assert_allclose([c.b_value for c in channels], b_values, atol=0.06)
        np.testing.assert_allclose([c.direction or (0, 0, 0) for c in channels], directions, atol=1e-4)


def test_bundle_metadata_names_the_same_channels():
    assert MRProtocol.from_metadata(BUNDLE / "configs" / "metadata.json") == MRH_NET
    described = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["network_data_format"]["inputs"]["image"]["channel_def"]
    assert described == {str(index): channel.description for index, channel in enumerate(MRH_NET)}


def test_rows_are_inverse():
    assert MRProtocol(tuple(channel_from(row) for row in MRH_NET.to_rows())) == MRH_NET


def test_wrong_protocols_are_refused(tmp_path):
    with pytest.raises(OptionError, match="unique name for every channel, found 'qa' twice"):
        MRProtocol((Channel("qa"), Channel("qa")))
    with pytest.raises(OptionError, match="at least one channel"):
        MRProtocol(())
    with pytest.raises(OptionError, match=r"expected a bundle folder, found no .*/metadata\.json in it"):
        MRProtocol.from_metadata(tmp_path / "metadata.json")
    (tmp_path / "x.zip").touch()
    with pytest.raises(OptionError, match=r"x\.zip: expected a bundle folder, found a zip; unpack it first with `mrh unpack`"):
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
        ("{name: a, b_value: x}", "'a', b_value: expected a number of s/mm.2, found 'x'"),
        ("{name: a, b_value: -5}", "b_value: .* found -5"),
        ("{name: a, direction: [1, 0]}", "direction: expected three numbers, together of length 1"),
        ("{name: a, direction: xyz}", "direction: expected three numbers"),
        ("{name: a, direction: [2, 0, 0]}", "direction: expected three numbers"),
        ("{name: a, minutes: 0}", "minutes: expected a number above 0, found 0"),
        ("{name: 'a\"b'}", "name: expected a line of text without quotes"),
        ("{name: 3}", "name: expected a line of text"),
        ("{name: a, contrast: [b]}", "contrast: expected a line of text"),
    ],
)
def test_a_channel_that_cannot_be_is_named_with_its_file(tmp_path, row, message):
    path = tmp_path / "protocol.yaml"
    path.write_text(f"channels: [{row}]")
    with pytest.raises(OptionError, match=rf"protocol\.yaml, channel .*{message}"):
        MRProtocol.from_yaml(path)
