import sys
from types import SimpleNamespace

import nibabel
import pytest

import mrh_monai
from helpers.random_weights import random_network, sidecar_of
from mrh_monai.inference.provenance import about_network, about_subject, command, versions
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.analysis


def test_provenance_tells_versions_command_and_files(monkeypatch, study):
    found = versions()
    assert (found["mrh-monai"], found["nibabel"]) == (mrh_monai.__version__, nibabel.__version__)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/mrh", "predict", "a b"])
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    assert command() == "mrh predict 'a b'"
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="monai.bundle.__main__")))
    assert command() == "python -m monai.bundle predict 'a b'"
    about = about_network(sidecar_of(random_network(), MRH_NET.names), MRH_NET)
    assert about["channels"] == MRH_NET.to_rows()
    files = find_subject(study / "subject04", target="targets/AF.img")
    assert about_subject(files)["files"] == {
        "image": [str(path.resolve()) for path in files.image], "mask": str(files.mask.resolve()), "fa": str(files.fa.resolve()),
        "target": str(files.target.resolve()),
    }  # fmt: skip


def test_a_library_that_is_absent_has_no_version(monkeypatch):
    monkeypatch.setattr("mrh_monai.inference.provenance.LIBRARIES", ("numpy", "no-such-library"))
    assert list(versions()) == ["mrh-monai", "python", "numpy"]
