from .catalogue import PUBLISHED_FILES as PUBLISHED_FILES, fetch_published as fetch_published
from .network_export import export_to_matlab as export_to_matlab
from .network_import import import_from_matlab as import_from_matlab
from .published_outputs import read_in_template_order as read_in_template_order, reconstruct_slices as reconstruct_slices
