from .bundle_zip import (
    ASK_SENDER_AGAIN as ASK_SENDER_AGAIN,
    LARGEST_FILE as LARGEST_FILE,
    BundleZip as BundleZip,
    is_safe_path as is_safe_path,
    write_bundle_zip as write_bundle_zip,
)
from .csv_and_json import as_csv as as_csv, as_json as as_json
from .files import (
    COPY_AGAIN as COPY_AGAIN,
    clear_partial as clear_partial,
    replacing as replacing,
    reserve_space as reserve_space,
    scratch_array as scratch_array,
    sha256 as sha256,
    writable_folder as writable_folder,
    write_bytes as write_bytes,
    write_text as write_text,
)
from .mat_files import check_mat_file as check_mat_file, open_hdf5 as open_hdf5
from .nibabel_files import (
    check_nifti_output as check_nifti_output,
    is_nifti as is_nifti,
    write_analyze as write_analyze,
    write_nifti as write_nifti,
)
from .patch_files import (
    PatchVariable as PatchVariable,
    check_patch_output as check_patch_output,
    expect_variable as expect_variable,
    is_patch_file as is_patch_file,
    open_patch_file as open_patch_file,
    read_in_child_process as read_in_child_process,
    write_patch_output as write_patch_output,
)
from .volume_files import (
    READABLE_ENDINGS as READABLE_ENDINGS,
    each_volume as each_volume,
    read_header as read_header,
    read_voxels as read_voxels,
    volume_ending as volume_ending,
)
from .volume_format import (
    Header as Header,
    Placement as Placement,
    checked_affine as checked_affine,
    make_header as make_header,
    map_voxels as map_voxels,
    scale_stored_voxels as scale_stored_voxels,
)
