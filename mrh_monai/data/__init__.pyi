from .checked_voxels import (
    NAN_RULES as NAN_RULES,
    SUPPORTS as SUPPORTS,
    NanRule as NanRule,
    ReadingOptions as ReadingOptions,
    Support as Support,
    check_stain as check_stain,
    finite_voxels as finite_voxels,
    load_stains as load_stains,
    read_target as read_target,
)
from .grid import check_one_grid as check_one_grid, check_single as check_single, read_headers as read_headers
from .input_kinds import (
    VOLUMES as VOLUMES,
    InputKind as InputKind,
    input_kind as input_kind,
    load_subject as load_subject,
    load_subjects as load_subjects,
    need_grid as need_grid,
    open_subject as open_subject,
)
from .masks import checked_mask as checked_mask, read_mask as read_mask, read_masks as read_masks, with_target_masks as with_target_masks
from .robust_range import ordinary_limits as ordinary_limits, robust_limits as robust_limits
from .slabs import PaddedImage as PaddedImage, Slabs as Slabs
from .subject_in_memory import SubjectInMemory as SubjectInMemory, level_voxels as level_voxels
from .subject_on_disk import SubjectOnDisk as SubjectOnDisk
