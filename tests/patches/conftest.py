"""Subjects from which patches are drawn."""

import pytest

from mrh_monai.data import ReadingOptions, load_subjects
from mrh_monai.protocol import MRH_NET
from mrh_monai.subjects import find_subjects


@pytest.fixture
def loaded(study):
    """The subjects of the study with their targets."""
    return load_subjects(find_subjects(study, target="targets/AF.img"), MRH_NET, ReadingOptions(need_target=True))
