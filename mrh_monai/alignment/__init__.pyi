from .alignment_files import (
    check_alignment_files as check_alignment_files,
    inputs_digest as inputs_digest,
    read_alignment as read_alignment,
    write_alignment as write_alignment,
)
from .displacement import ControlGrid as ControlGrid
from .moved_stain import move_stain as move_stain
from .stain_alignment import Alignment as Alignment, align_stains as align_stains
from .trial import Trial as Trial
