"""Bundles: the template, the bundles made from it, and the options that their configs share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
