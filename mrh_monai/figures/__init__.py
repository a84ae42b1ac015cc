"""Figures as PNG files: slices of a brain, training curves, signals of channels, plots of scores and experiments."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
