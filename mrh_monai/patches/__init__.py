"""Patches: which voxels become centres of training patches, and gathering whole batches of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
