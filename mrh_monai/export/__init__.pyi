from .network_files import export_network as export_network, load_exported as load_exported
from .tensorrt_engine import check_tensorrt as check_tensorrt, engine_args as engine_args, engine_path as engine_path
