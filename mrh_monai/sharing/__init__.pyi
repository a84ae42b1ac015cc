from .config_code import Code as Code
from .packing import Packed as Packed, pack as pack
from .signing import signature_path as signature_path
from .template_history import write_current_template as write_current_template
from .unpacking import Examined as Examined, unpack as unpack, verify as verify
