"""One file each: volumes, MAT files, patch files, zips, CSV and JSON; every file is written whole or not at all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
