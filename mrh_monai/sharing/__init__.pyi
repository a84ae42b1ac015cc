from .packing import pack as pack
from .signing import signature_path as signature_path
from .unpacking import unpack as unpack, verify as verify
