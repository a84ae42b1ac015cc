"""Intervals of a stain: how large an error is to be expected at each voxel, and how large it was on subjects held out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
