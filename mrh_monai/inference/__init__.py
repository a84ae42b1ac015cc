"""Inference: voxel-wise prediction of a subject, its record, and the MONAI parts around it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
