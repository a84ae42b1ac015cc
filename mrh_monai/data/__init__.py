"""The voxels of subjects: checks of grid and values, and reading them into memory or slab by slab."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
