import json
from pathlib import Path

import pytest

from mrh_monai.bundle.run_settings import CohortSettings, InferenceSettings
from mrh_monai.errors import DatalistError, OptionError


def test_inference_settings_have_their_types(tmp_path):
    found = InferenceSettings.from_options(
        datalist=str(tmp_path / "d.json"), output_dir="out", slices="0:3", nan="null", report="false", residual_blocks="none"
    )
    assert (found.output_folder, found.datalist_folder, found.slices) == (Path("out"), str(tmp_path), ((0, 3),))
    assert (found.nan, found.report, found.residual_blocks, found.batch_size) == (None, False, None, 4096)


def test_subjects_are_those_of_the_section_within_the_slices(tmp_path):
    entries = [{"subject": "m1", "image": ["m1.nii"], "mask": "mask.nii", "slices": [[0, 10]]}]
    (tmp_path / "d.json").write_text(json.dumps({"validation": entries}))
    (subject,) = InferenceSettings.from_options(datalist=tmp_path / "d.json", datalist_key="validation", slices="5:20").subjects()
    assert (subject.name, subject.slices) == ("m1", ((5, 10),))
    with pytest.raises(DatalistError, match="subjects under 'test'"):
        InferenceSettings.from_options(datalist=tmp_path / "d.json").subjects()
    with pytest.raises(DatalistError, match="give --datalist FILE"):
        InferenceSettings.from_options().subjects()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"support": "brain"}, "support: expected mask or fa, found 'brain'"),
        ({"nan": "keep"}, "nan: expected refuse or zero, found 'keep'"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, found 0"),
        ({"residual_blocks": -1}, "residual_blocks: expected a whole number of at least 0"),
    ],
)
def test_wrong_options_are_named(typed, message):
    with pytest.raises(OptionError, match=message):
        InferenceSettings.from_options(**typed)


def test_processes_share_subjects_or_slabs():
    assert [CohortSettings.from_options(shared=shared, redo="true").share_slabs for shared in ("subjects", "slabs")] == [False, True]
    with pytest.raises(OptionError, match="shared: expected subjects or slabs, found 'voxels'"):
        CohortSettings.from_options(shared="voxels")
