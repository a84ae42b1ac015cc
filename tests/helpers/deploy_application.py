"""The MONAI Deploy application in this process."""

import logging
import sys
import warnings
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest

from helpers.paths import ROOT

needs_sdk = pytest.mark.skipif(find_spec("holoscan") is None, reason="the MONAI Deploy App SDK is not installed (make test-deploy)")
APP = ROOT / "apps" / "monai_deploy"
OBLIQUE = np.array([[0.06, 0.01, 0, -3], [-0.01, 0.06, 0, 5], [0, 0, 0.0625, 7], [0, 0, 0, 1]])


@contextmanager
def undone():
    """Take back what configs and the application change in their process, which here is pytest's."""
    before = sys.excepthook, warnings.showwarning, logging.getLogger("ignite").level
    yield
    sys.excepthook, warnings.showwarning, level = before
    logging.getLogger("ignite").setLevel(level)
