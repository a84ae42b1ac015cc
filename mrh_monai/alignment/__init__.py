"""Alignment of stains to the MR images on which they train: smooth displacements that a predictor of single voxels finds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
