from .catalogue import PUBLISHED as PUBLISHED, fetch_published as fetch_published
from .network_export import export_network as export_network
from .network_import import import_network as import_network
from .published_outputs import read_in_template_order as read_in_template_order, reconstruct as reconstruct
