from .alignment_files import read_alignment as read_alignment, write_alignment as write_alignment
from .displacement import ControlGrid as ControlGrid
from .moved_stain import move_stain as move_stain
from .stain_alignment import Alignment as Alignment, align_stains as align_stains
from .trial import Trial as Trial
