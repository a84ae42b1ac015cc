from .bundle_zip import (
    ASK_SENDER_AGAIN as ASK_SENDER_AGAIN,
    LARGEST_FILE as LARGEST_FILE,
    BundleZip as BundleZip,
    is_safe as is_safe,
    write_bundle_zip as write_bundle_zip,
)
from .child_process import IsolatedError as IsolatedError, isolated as isolated
from .csv_and_json import as_csv as as_csv
from .files import (
    COPY_AGAIN as COPY_AGAIN,
    clear_partial as clear_partial,
    replacing as replacing,
    reserve as reserve,
    scratch_array as scratch_array,
    sha256 as sha256,
    writable_folder as writable_folder,
    write_bytes as write_bytes,
    write_text as write_text,
)
from .mat_files import check_envelope as check_envelope, open_hdf5 as open_hdf5
from .patch_files import (
    PatchVariable as PatchVariable,
    check_predictions_output as check_predictions_output,
    expect_variable as expect_variable,
    from_patches as from_patches,
    open_patches as open_patches,
    write_predictions as write_predictions,
)
from .volume_files import (
    READABLE as READABLE,
    Header as Header,
    check_nifti_output as check_nifti_output,
    each_volume as each_volume,
    ending as ending,
    from_stored as from_stored,
    map_voxels as map_voxels,
    read_header as read_header,
    read_voxels as read_voxels,
    write_analyze as write_analyze,
    write_nifti as write_nifti,
)
