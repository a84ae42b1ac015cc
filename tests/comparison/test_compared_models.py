"""The subjects and the network of a comparison: arrays are read as files are, and the network keeps its options."""

import numpy as np
import pytest

from helpers.subjects import arrays_of_datalist
from mrh_monai.comparison.comparison import ComparisonOptions, compare
from mrh_monai.inference.predictor import PredictionOptions, load_bundle
from mrh_monai.inference.voxelwise import TrainedNetwork
from mrh_monai.subjects.datalist import Datalist

pytestmark = pytest.mark.analysis


def test_arrays_are_compared_as_files_are(study_bundle, study):
    """Without maps: one array is one diffusion scan, two files are two, each with unweighted volumes of its own."""
    options = ComparisonOptions(voxels=800, with_maps=False)
    listed = Datalist.read(study / "datalist.json")
    affine = np.diag([0.0625, 0.0625, 0.0625, 1])
    from_files, from_arrays = (compare(study_bundle, each, options) for each in (listed, arrays_of_datalist(listed, affine)))
    assert from_arrays.models == from_files.models
    assert len(from_files.models) > 2


def test_the_options_of_a_loaded_bundle_are_those_of_the_comparison(study_bundle, study, monkeypatch):
    used = []
    whole = TrainedNetwork.predict
    monkeypatch.setattr(TrainedNetwork, "predict", lambda self, *given: used.append(given[-1]) or whole(self, *given))
    predictor = load_bundle(study_bundle, PredictionOptions("cpu", batch_size=100))
    compare(predictor, study / "datalist.json", ComparisonOptions(voxels=800, with_maps=False))
    assert {each.batch_size for each in used} == {100}
