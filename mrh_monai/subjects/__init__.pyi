from .coronal import coronal_axis as coronal_axis, with_default_axis as with_default_axis
from .datalist import Datalist as Datalist, read_manifest as read_manifest
from .file_geometry import (
    FROM_FILES as FROM_FILES,
    FileGeometry as FileGeometry,
    bundle_coronal_axis as bundle_coronal_axis,
    checked_coronal_axis as checked_coronal_axis,
    checked_voxel_size as checked_voxel_size,
)
from .folder_listing import find_subjects as find_subjects, is_subject_folder as is_subject_folder, list_folder as list_folder
from .given_subject import SubjectLike as SubjectLike, as_subject as as_subject
from .layout import MRH_NET_LAYOUT as MRH_NET_LAYOUT, Layout as Layout
from .subject import (
    FILE_KEYS as FILE_KEYS,
    SUBJECT_NAME as SUBJECT_NAME,
    Slices as Slices,
    Subject as Subject,
    checked_slices as checked_slices,
    files_of as files_of,
    in_slices as in_slices,
    is_subject_name as is_subject_name,
)
from .subject_arrays import AnySubject as AnySubject, SubjectArrays as SubjectArrays, real_array as real_array, write_arrays as write_arrays
from .subject_search import (
    BESIDE_IMAGE as BESIDE_IMAGE,
    MANIFEST as MANIFEST,
    find_input as find_input,
    find_subject as find_subject,
    input_name as input_name,
    mask_beside as mask_beside,
)
