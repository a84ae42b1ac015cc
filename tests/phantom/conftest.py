import pytest

from helpers.phantoms import SMALL
from mrh_monai.phantom.digital_brain import PhantomSubject, make_subject


@pytest.fixture(scope="session")
def small() -> PhantomSubject:
    return make_subject(0, SMALL, seed=3)


@pytest.fixture(scope="session")
def cohort() -> list[PhantomSubject]:
    """Four subjects to fit on and the one to test on, at the default size."""
    return [make_subject(index) for index in (0, 1, 2, 3, 5)]
