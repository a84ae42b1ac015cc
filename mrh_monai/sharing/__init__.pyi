from .config_code import Code as Code
from .packing import Packed as Packed, pack as pack
from .released_templates import write_current_template as write_current_template
from .signing import signature_path as signature_path
from .unpacking import Examined as Examined, unpack as unpack, verify as verify
