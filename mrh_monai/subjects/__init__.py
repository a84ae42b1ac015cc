"""Subjects: the files that belong to one animal, how they are found, and the datalists of a study."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
