"""MRH-Net: the network, its fast exact form for small patches, and its weights with their sidecar."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
