"""The digital mouse brain: its anatomy, its MR signals, its stains, and writing subjects to disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
