"""Figures as PNG files: plots of scores, slices of a brain, training curves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
