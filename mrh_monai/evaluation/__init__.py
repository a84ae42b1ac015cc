"""Evaluation: scores with intervals, regions, and the comparison with MR markers and regressions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
