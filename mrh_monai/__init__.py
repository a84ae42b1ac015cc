"""Virtual histology of the mouse brain from multi-contrast MRI.

The names below are the public API. They are loaded when they are first used, so that importing the package takes no time.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
