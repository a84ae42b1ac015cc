import matplotlib.image
import pytest


@pytest.fixture
def picture(tmp_path):
    """Draw and read back: (rows, columns, 3)."""

    def read(draw, *arguments, **options):
        draw(*arguments, path=tmp_path / "picture.png", **options)
        return matplotlib.image.imread(tmp_path / "picture.png")[..., :3]

    return read
