import importlib.util

import numpy as np
import pytest

from mrh_monai.protocol.mrh_net import MRH_NET, MT_OFF, MT_ON, T2


def test_the_67_channels_are_two_shells_then_t2_and_the_mt_pair():
    assert len(MRH_NET) == 67
    weighted = [[c.direction is not None for c in MRH_NET.channels[start : start + 32]] for start in (0, 32)]
    assert weighted == [[False] * 2 + [True] * 30] * 2
    assert MRH_NET.names[64:] == [T2, MT_ON, MT_OFF] == ["t2", "mt_on", "mt_off"]


@pytest.mark.parametrize(("start", "b_value"), [(2, 1900), (34, 4800)])
def test_directions_are_unit_and_b_values_near_the_shell(start, b_value):
    shell = MRH_NET.channels[start : start + 30]
    np.testing.assert_allclose(np.linalg.norm([c.direction for c in shell], axis=1), 1, atol=2e-4)
    assert all(abs(c.b_value - b_value) < 25 for c in shell)


def test_matches_the_published_method_files(shared):
    spec = importlib.util.spec_from_file_location("kit", shared / "mouse_kit" / "make_subjects.py")
    kit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kit)
    for start, name in ((0, "dwi_b2000_method"), (32, "dwi_b5000_method")):
        b_values, directions = kit.shell(name)
        channels = MRH_NET.channels[start : start + 32]
        np.testing.assert_allclose([c.b_value for c in channels], b_values, atol=0.06)
        np.testing.assert_allclose([c.direction or (0, 0, 0) for c in channels], directions, atol=1e-4)


def test_the_contrasts_and_their_weights_are_those_of_the_first_release():
    groups = {group.name: group.indices for group in MRH_NET.groups}
    assert groups == {
        "unweighted": (0, 1, 32, 33), "b = 1900": tuple(range(2, 32)), "b = 4800": tuple(range(34, 64)),
        T2: (64,), MT_ON: (65,), MT_OFF: (66,),
    }  # fmt: skip
    unweighted, shell = 4**-0.5, 30**-0.5
    assert MRH_NET.weights == ([unweighted] * 2 + [shell] * 30) * 2 + [1.0] * 3


def test_the_scan_takes_twelve_hours():
    """The paper's methods: about 12 h in all, of which diffusion takes 10.6 h."""
    minutes = [channel.minutes for channel in MRH_NET]
    assert sum(minutes[:64]) == pytest.approx(64 * 9.984)
    assert sum(minutes) == pytest.approx(826.2, abs=0.1)
