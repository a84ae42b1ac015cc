from .options import (
    bundle_root as bundle_root,
    fingerprint as fingerprint,
    flag as flag,
    folder_of as folder_of,
    integer as integer,
    integers as integers,
    optional as optional,
    output_folder as output_folder,
    slices as slices,
    start as start,
    subjects as subjects,
    training_settings as training_settings,
    tuned as tuned,
    without_scores as without_scores,
)
from .template_rendering import SHIPPED as SHIPPED, new_bundle as new_bundle, render as render
