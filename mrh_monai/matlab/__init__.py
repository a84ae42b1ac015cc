"""MATLAB: import and export of networks, and the files that were published with MRH-Net."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
