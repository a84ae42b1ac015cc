"""Comparison: a network beside MR markers and regressions, on subjects that were not used to train or fit any of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
