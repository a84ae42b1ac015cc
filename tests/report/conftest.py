"""A prediction with its record, and what it was made of."""

import pytest

from helpers.reports import predict
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subjects
from mrh_monai.inference.provenance import about_network
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report import prediction_sections
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects.subject_search import find_subject


@pytest.fixture(scope="module")
def scaling(study):
    subjects = [find_subject(study / name, target="targets/AF.img") for name in ("subject01", "subject02")]
    return RobustScaling.fit(load_subjects(subjects, MRH_NET, ReadingOptions(need_target=True)))


@pytest.fixture
def about(scaling):
    sidecar = Sidecar("af", "grey values", MRH_NET.names, 5, 64, [0, 2], 1, scaling, source={"recipe": "fast", "seed": 4})
    return about_network(sidecar, MRH_NET)


@pytest.fixture
def files(study):
    return find_subject(study / "subject04", target="targets/AF.img")


@pytest.fixture
def results(files, about, tmp_path):
    predict(tmp_path / "out", files, about)
    return tmp_path / "out"


@pytest.fixture
def quick(monkeypatch):
    """Bytes instead of pictures, which take no time."""
    for name in ("three_planes", "channel_levels"):
        monkeypatch.setattr(prediction_sections, name, lambda *arguments: arguments[-1].write_bytes(b"0" * 30_000))
