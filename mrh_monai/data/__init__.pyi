from .datalist import (
    Datalist as Datalist,
    read_datalist as read_datalist,
    read_manifest as read_manifest,
    section as section,
    split as split,
    write_datalist as write_datalist,
)
from .grid import check_one_grid as check_one_grid, check_single as check_single, read_headers as read_headers
from .input_paths import BESIDE as BESIDE, MANIFEST as MANIFEST, find_input as find_input, input_name as input_name
from .patch_subjects import is_patch_file as is_patch_file
from .slabs import PaddedImage as PaddedImage, Slabs as Slabs
from .subject import (
    CORONAL_AXIS as CORONAL_AXIS,
    MRH_NET_LAYOUT as MRH_NET_LAYOUT,
    Layout as Layout,
    Slices as Slices,
    Subject as Subject,
    find_subject as find_subject,
    find_subjects as find_subjects,
    restrict as restrict,
)
from .subject_in_memory import (
    CORONAL_PLANE as CORONAL_PLANE,
    LoadedSubject as LoadedSubject,
    check_axes as check_axes,
    level_voxels as level_voxels,
)
from .subject_on_disk import open_subject as open_subject
from .subject_voxels import (
    check_stain as check_stain,
    load_stains as load_stains,
    load_subject as load_subject,
    load_subjects as load_subjects,
    read_mask as read_mask,
    read_masks as read_masks,
    read_target as read_target,
)
