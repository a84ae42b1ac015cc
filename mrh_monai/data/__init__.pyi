from .checked_voxels import (
    NAN_RULES as NAN_RULES,
    SUPPORTS as SUPPORTS,
    ReadingOptions as ReadingOptions,
    check_stain as check_stain,
    checked_mask as checked_mask,
    finite_voxels as finite_voxels,
    load_stains as load_stains,
    read_mask as read_mask,
    read_masks as read_masks,
    read_target as read_target,
)
from .datalist import Datalist as Datalist, read_manifest as read_manifest
from .grid import check_one_grid as check_one_grid, check_single as check_single, read_headers as read_headers
from .input_kinds import (
    VOLUMES as VOLUMES,
    AnySubject as AnySubject,
    InputKind as InputKind,
    input_kind as input_kind,
    load_subject as load_subject,
    load_subjects as load_subjects,
    need_grid as need_grid,
    open_subject as open_subject,
)
from .slabs import PaddedImage as PaddedImage, Slabs as Slabs
from .subject import Slices as Slices, Subject as Subject
from .subject_in_memory import SubjectArrays as SubjectArrays, SubjectInMemory as SubjectInMemory, level_voxels as level_voxels
from .subject_on_disk import SubjectOnDisk as SubjectOnDisk
from .subject_search import (
    BESIDE_IMAGE as BESIDE_IMAGE,
    MANIFEST as MANIFEST,
    MRH_NET_LAYOUT as MRH_NET_LAYOUT,
    Layout as Layout,
    find_input as find_input,
    find_subject as find_subject,
    find_subjects as find_subjects,
    input_name as input_name,
)
