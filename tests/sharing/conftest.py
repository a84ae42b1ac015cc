"""A sound packed bundle, to be changed as a stranger could."""

import pytest

from helpers.strange_zips import packed_files, repacked


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of a sound bundle, by path inside it."""
    return packed_files(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def zipped(files, tmp_path):
    """A zip of the sound bundle with some files changed."""
    (tmp_path / "in").mkdir()
    return lambda changes=None: repacked(tmp_path / "in" / "mrh_nf.zip", files, changes or {})
